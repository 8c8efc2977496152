//! The namespaces that a cluster runs in: a network in which every pod address is ours, and a process table whose end is
//! the end of everything that was started.
//!
//! A program passes through its own `main` three times (the stages are told by an environment variable):
//! 1. *outside*: installs the tools, because there is no internet inside, and replaces itself;
//! 2. *entering*: unshares, starts itself once more as process 1 of the new process namespace, forwards signals, waits;
//! 3. *inside*: sets up the network and goes on with the rest of `main`.
//!
//! When process 1 ends, for whatever reason, the kernel kills every other process of the namespace: nothing can be left
//! behind. Process 1 in turn dies with stage 2, also when that one gets SIGKILL.

use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Gid, Pid, Uid};

use crate::tools::{self, Tools};

const STAGE: &str = "LOCKKEEPER_E2E_NETNS";
/// Addresses that pods get.
pub(crate) const POD_CIDR: &str = "10.244.0.0/16";

/// Goes on inside a network of its own; call it as the first thing in `main`, before any thread starts.
///
/// Installs missing tools first. Does nothing when `LOCKKEEPER_KUBECONFIG` names a cluster to use instead. On failure it prints
/// one sentence that names the mend, and exits with code 1. Does not return in the outer processes: they exit with the
/// code of the inner one.
pub fn reexec_in_network_namespace() {
    if crate::cluster::foreign_kubeconfig().is_some() {
        return;
    }
    let stage = std::env::var(STAGE);
    let outcome = match stage.as_deref() {
        Ok("entering") => enter_and_wait().map(exit_as),
        Ok("inside") => set_up_inside(),
        _ => Tools::install().and_then(|_| become_entering()),
    };
    if let Err(error) = outcome {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}

/// Whether this process is inside its own network.
pub(crate) fn is_inside() -> bool {
    std::env::var(STAGE).is_ok_and(|stage| stage == "inside")
}

/// An empty directory in memory that exists only inside, so that it vanishes with the namespace.
pub(crate) fn scratch_directory() -> PathBuf {
    tools::cache_directory().join("scratch")
}

fn same_command(stage: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
    command.args(std::env::args_os().skip(1)).env(STAGE, stage);
    Ok(command)
}

/// Replaces the process, which also ends every thread that the installation has used: `unshare` wants a single one.
fn become_entering() -> Result<()> {
    let error = same_command("entering")?.exec();
    Err(error).context("cannot start this program anew")
}

fn enter_and_wait() -> Result<ExitStatus> {
    let (uid, gid) = (Uid::current(), Gid::current());
    let flags =
        CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    unshare(flags).map_err(io::Error::from).and_then(|()| become_root_inside(uid, gid)).context(
        "user namespaces are forbidden here. Allow them (sysctl kernel.unprivileged_userns_clone=1, \
         kernel.apparmor_restrict_unprivileged_userns=0, in a container --security-opt seccomp=unconfined), \
         or set LOCKKEEPER_KUBECONFIG to use a cluster that you have",
    )?;
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD] {
        signals.add(signal);
    }
    signals.thread_block().context("cannot wait for signals")?;
    let child = same_command("inside")?.spawn().context("cannot start this program inside its namespaces")?;
    forward_signals(child, &signals)
}

fn become_root_inside(uid: Uid, gid: Gid) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// The first signal is passed on; whoever sends a second one has lost patience.
fn forward_signals(mut child: Child, signals: &SigSet) -> Result<ExitStatus> {
    let mut asked = false;
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the inner process")? {
            return Ok(status);
        }
        match signals.wait().context("cannot wait for signals")? {
            Signal::SIGCHLD => {}
            _ if asked => child.kill().context("cannot end the inner process")?,
            signal => {
                asked = true;
                // It may have ended meanwhile, which the loop sees next.
                let _ = kill(Pid::from_raw(i32::try_from(child.id())?), signal);
            }
        }
    }
}

fn exit_as(status: ExitStatus) {
    std::process::exit(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
}

fn set_up_inside() -> Result<()> {
    // What the outer process waits for it has blocked, which is inherited, by each child of ours too.
    SigSet::all().thread_unblock().context("cannot unblock signals")?;
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask to die with the parent process")?;
    run_ip(&["link", "set", "lo", "up"])?;
    // Every pod address is answered by this machine.
    run_ip(&["route", "add", "local", POD_CIDR, "dev", "lo"])?;
    let scratch = scratch_directory();
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    mount(Some("lockkeeper"), &scratch, Some("tmpfs"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount memory at {}", scratch.display()))
}

fn run_ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| anyhow!("cannot run `ip` ({error}): install it (apt-get install iproute2)"))?;
    if !output.status.success() {
        bail!("`ip {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
