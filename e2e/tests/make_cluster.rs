//! `make cluster`, seen from outside: reachable by anybody's kubectl, and gone without a trace.

#![expect(clippy::expect_used, reason = "clippy allows it only in the test functions themselves, not in their helpers")]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockkeeper_e2e::{Cluster, Kubernetes, User, http_get};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// For processes to be gone after a kill.
const LIMIT: Duration = Duration::from_secs(20);

/// `lockkeeper-cluster`, and what it tells its user to export.
struct Running {
    process: Child,
    exports: HashMap<String, String>,
    logs: PathBuf,
}

impl Running {
    fn start() -> Running {
        let mut process =
            Command::new(env!("CARGO_BIN_EXE_lockkeeper-cluster")).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let (mut exports, mut logs) = (HashMap::new(), None);
        for line in lines.by_ref().map(|line| line.expect("text")) {
            if let Some((name, value)) = line.strip_prefix("export ").and_then(|export| export.split_once('=')) {
                exports.insert(name.to_owned(), value.to_owned());
            } else if let Some(path) = line.strip_prefix("# Logs: ") {
                logs = Some(PathBuf::from(path));
            } else if line.contains("Ctrl-C") {
                break;
            }
        }
        Running { process, exports, logs: logs.expect("it names its logs") }
    }

    fn directory(&self) -> &Path {
        Path::new(&self.exports["KUBECONFIG"]).parent().expect("a file in a directory")
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.id()).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("it runs");
    }

    /// Every process of the cluster: each inherits the variable that names its directory.
    fn processes(&self) -> Vec<String> {
        let mark = format!("LOCKKEEPER_CLUSTER_SOCKETS={}\0", self.directory().display());
        let processes = fs::read_dir("/proc").expect("it is there").filter_map(|entry| {
            let path = entry.ok()?.path();
            let environment = fs::read(path.join("environ")).ok()?;
            let ours = String::from_utf8_lossy(&environment).contains(&mark);
            ours.then(|| fs::read_to_string(path.join("comm")).unwrap_or_default().trim().to_owned())
        });
        processes.collect()
    }

    fn wait_until_nothing_is_left(&self) {
        let begun = Instant::now();
        while !self.processes().is_empty() {
            assert!(begun.elapsed() < LIMIT, "still running: {:?}", self.processes());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended if all went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn it_is_reachable_from_outside_and_ends_when_asked() {
    let mut running = Running::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let url = |name: &str| running.exports[name].as_str();
        let prometheus = format!("{}/-/ready", url("LOCKKEEPER_E2E_PROMETHEUS_URL"));
        assert!(http_get(&prometheus).await.expect("Prometheus answers").status.is_success());
        let gateway = http_get(url("LOCKKEEPER_E2E_GATEWAY_URL")).await.expect("the gateway answers");
        assert_eq!(gateway.status.as_u16(), 404, "no route yet");

        // The same library, on a cluster that it has not started.
        let kubeconfig = Path::new(url("KUBECONFIG"));
        let cluster = Cluster::open(kubeconfig, url("LOCKKEEPER_E2E_GATEWAY_URL"), None).await.expect("it opens");
        cluster.create_namespace("outside").await.expect("as admin");
        let hers = "{apiVersion: v1, kind: Namespace, metadata: {name: hers}}";
        let refused = format!("{:#}", cluster.apply_as(User::Alice, hers).await.expect_err("she may not"));
        assert!(refused.contains("\"alice\" cannot patch resource \"namespaces\""), "{refused}");
        assert!(cluster.audit_log().is_err() && cluster.prometheus_url().is_err());
        cluster.stop().await.expect("nothing of it ends");
    });
    let kubectl = format!("{}/kubectl", running.exports["PATH"].trim_end_matches(":$PATH"));
    let version = Command::new(kubectl).arg("version").env("KUBECONFIG", &running.exports["KUBECONFIG"]).output();
    let version = String::from_utf8(version.expect("it runs").stdout).expect("text");
    let asked = Kubernetes::asked().expect("there is a cluster of it").minor_version();
    assert!(version.contains(&format!("Server Version: v{asked}.")), "{version}");
    assert!(running.processes().len() >= 8, "{:?}", running.processes());

    running.signal(Signal::SIGTERM);
    assert!(running.process.wait().expect("it ends").success());
    assert_eq!(running.processes(), Vec::<String>::new());
    assert!(!running.directory().exists() && !running.logs.exists());
}

/// The process that only waits passes signals on to the one that runs the cluster.
#[test]
fn its_inner_processes_end_when_asked_as_well() {
    let mut running = Running::start();
    let id = running.process.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("it has a child");
    let waiting = children.trim().parse().expect("a process id");
    kill(Pid::from_raw(waiting), Signal::SIGTERM).expect("it runs");
    assert_eq!(running.process.wait().expect("it ends").code(), Some(1), "nobody asked the outer one");
    assert_eq!(running.processes(), Vec::<String>::new());
    assert!(running.logs.exists(), "who wonders why finds its logs");
    fs::remove_dir_all(&running.logs).expect("they are there");
}

#[test]
fn nothing_outlives_it_when_it_is_killed() {
    let mut running = Running::start();
    running.signal(Signal::SIGKILL);
    running.process.wait().expect("it ends");
    running.wait_until_nothing_is_left();
    // Nobody was left to clear up.
    fs::remove_dir_all(running.directory()).expect("it is there");
}
