//! A local cluster for your own `kubectl`: runs until Ctrl-C and can be reached from this machine.
//!
//! Two processes: the outer one listens on ports of the loopback interface; the inner one runs the cluster in a network of
//! its own. Between them, Unix sockets. The inner one ends when its standard input does, and so with the outer one.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use lockkeeper_e2e::{Cluster, MutatingPolicies, Options, Tools, User, reexec_in_network_namespace};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Tells the inner process where its sockets go.
const SOCKETS: &str = "LOCKKEEPER_CLUSTER_SOCKETS";
const USAGE: &str = "usage: lockkeeper-cluster [--without-mutating-policies]
Runs a local cluster until Ctrl-C. With the option its API server has no MutatingAdmissionPolicy, as before Kubernetes 1.36.
LOCKKEEPER_KUBERNETES=1.35 in the environment (K8S=1.35 with make) takes another version.";
/// Addresses inside.
const API_SERVER: &str = "127.0.0.1:6443";
const GATEWAY: &str = "127.0.0.1:8000";
const PROMETHEUS: &str = "127.0.0.1:9090";

/// What the outer process must know, one line of JSON on standard output.
#[derive(Serialize, Deserialize)]
struct Ready {
    /// By user; with the API server's address inside.
    kubeconfigs: BTreeMap<String, String>,
    logs: PathBuf,
}

fn main() {
    let outcome = match std::env::var_os(SOCKETS) {
        Some(sockets) => {
            reexec_in_network_namespace();
            run(inner(Path::new(&sockets)))
        }
        None => options().and_then(|_| run(outer())),
    };
    if let Err(error) = outcome {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}

fn run(future: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(future)
}

fn options() -> Result<Options> {
    std::env::args().skip(1).try_fold(Options::default(), |options, argument| match argument.as_str() {
        "--without-mutating-policies" => Ok(Options { mutating_policies: MutatingPolicies::Absent, ..options }),
        unknown => bail!("unknown argument {unknown}\n{USAGE}"),
    })
}

async fn inner(sockets: &Path) -> Result<()> {
    let cluster = Cluster::start(options()?).await?;
    for address in [API_SERVER, GATEWAY, PROMETHEUS] {
        let listener = UnixListener::bind(socket(sockets, address))?;
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut to = TcpStream::connect(address).await?;
                    copy_bidirectional(&mut from, &mut to).await
                });
            }
        });
    }
    let kubeconfig = |user: User| Ok((user.name().to_owned(), fs::read_to_string(cluster.kubeconfig(user))?));
    let kubeconfigs = User::ALL.into_iter().map(kubeconfig).collect::<Result<_>>()?;
    println!("{}", serde_json::to_string(&Ready { kubeconfigs, logs: cluster.logs().to_owned() })?);
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    cluster.stop().await
}

async fn outer() -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let tools = Tools::install()?;
    let directory = tempfile::Builder::new().prefix("lockkeeper-").tempdir()?;
    let mut cluster = start_inner(directory.path())?;
    // Kept apart, because waiting for a child closes what it still has of its standard input.
    let input = cluster.stdin.take();
    let ready = tokio::select! {
        ready = until_ready(&mut cluster) => ready?,
        _ = interrupt.recv() => return end(cluster, input).await,
        _ = terminate.recv() => return end(cluster, input).await,
        _ = hangup.recv() => return end(cluster, input).await,
    };
    print_how_to_use(directory.path(), &tools, &ready).await?;
    tokio::select! {
        status = cluster.wait() => bail!("the cluster ended by itself ({}); its logs: {}", status?, ready.logs.display()),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    end(cluster, input).await
}

fn start_inner(sockets: &Path) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(SOCKETS, sockets)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // A Ctrl-C is for us alone: we then ask it to end.
        .process_group(0)
        .spawn()
        .context("cannot start the cluster's process")
}

async fn until_ready(cluster: &mut Child) -> Result<Ready> {
    let stdout = cluster.stdout.take().context("the cluster's process has no standard output")?;
    match BufReader::new(stdout).lines().next_line().await? {
        Some(line) => Ok(serde_json::from_str(&line)?),
        None => bail!("the cluster did not start, for the reason above"),
    }
}

async fn end(mut cluster: Child, input: Option<ChildStdin>) -> Result<()> {
    drop(input);
    cluster.wait().await?;
    Ok(())
}

async fn print_how_to_use(directory: &Path, tools: &Tools, ready: &Ready) -> Result<()> {
    let api_server = forward(socket(directory, API_SERVER)).await?;
    let gateway = forward(socket(directory, GATEWAY)).await?;
    let prometheus = forward(socket(directory, PROMETHEUS)).await?;
    for (user, kubeconfig) in &ready.kubeconfigs {
        fs::write(directory.join(user), kubeconfig.replace(API_SERVER, &format!("127.0.0.1:{api_server}")))?;
    }
    let programs = directory.join("bin");
    fs::create_dir(&programs)?;
    for (name, program) in [("kubectl", tools.kubectl()), ("helm", tools.helm.clone())] {
        std::os::unix::fs::symlink(program, programs.join(name))?;
    }
    let shown = directory.display();
    println!("export KUBECONFIG={shown}/{}", User::Admin.name());
    println!("export PATH={}:$PATH", programs.display());
    println!("export LOCKKEEPER_E2E_GATEWAY_URL=http://127.0.0.1:{gateway}");
    println!("export LOCKKEEPER_E2E_PROMETHEUS_URL=http://127.0.0.1:{prometheus}");
    let others: Vec<&str> = User::ALL.into_iter().skip(1).map(User::name).collect();
    println!("# Other people, beside it: {}", others.join(", "));
    println!("# Logs: {}", ready.logs.display());
    println!("# Ctrl-C ends and deletes it.");
    Ok(())
}

/// Forwards a free port of the loopback interface to this socket and returns the port.
async fn forward(socket: PathBuf) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let socket = socket.clone();
            tokio::spawn(async move {
                let mut to = UnixStream::connect(socket).await?;
                copy_bidirectional(&mut from, &mut to).await
            });
        }
    });
    Ok(port)
}

fn socket(directory: &Path, address: &str) -> PathBuf {
    directory.join(address.replace("127.0.0.1:", "port-"))
}
