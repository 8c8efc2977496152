//! The operator, or any other binary, as a child that tests may end in every way.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::StatusCode;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::timeout;

use crate::http_get::http_get;
use crate::process::Process;

/// What to start.
#[derive(Clone, Debug)]
pub struct OperatorCommand {
    /// Name of the log file, without its ending. A second start with the same name appends.
    pub name: String,
    /// The program.
    pub binary: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables beside those that this process has.
    pub environment: Vec<(String, String)>,
    /// Where the log goes.
    pub logs: PathBuf,
}

/// A running one; killed when dropped.
#[derive(Debug)]
pub struct OperatorProcess {
    process: Process,
}

impl OperatorProcess {
    /// Starts it and returns at once.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(command: &OperatorCommand) -> Result<OperatorProcess> {
        let mut child = Command::new(&command.binary);
        child.args(&command.arguments).envs(command.environment.iter().map(|(name, value)| (name, value)));
        Ok(OperatorProcess { process: Process::start(&command.name, &mut child, &command.logs)? })
    }

    /// Waits until a GET of `url`, its `/readyz`, answers 200.
    ///
    /// # Errors
    /// If it ends first or `within` passes, with the last lines of its log.
    pub async fn ready(&mut self, url: &str, within: Duration) -> Result<()> {
        self.process
            .until(within, async || http_get(url).await.is_ok_and(|answer| answer.status == StatusCode::OK))
            .await
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// The file with its standard output and error.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// SIGKILL: no last words. Returns when it has ended.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(mut self) -> Result<()> {
        self.process.child().kill().await.context("cannot kill the operator")
    }

    /// SIGTERM. Returns its exit status.
    ///
    /// # Errors
    /// If it has ended before, or goes on for longer than `within`.
    pub async fn terminate(mut self, within: Duration) -> Result<ExitStatus> {
        let Some(id) = self.id() else { bail!("the operator has ended already") };
        kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGTERM).context("cannot signal the operator")?;
        match timeout(within, self.process.child().wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => {
                bail!("the operator still runs {} s after SIGTERM, see {}", within.as_secs(), self.log().display())
            }
        }
    }

    /// Its exit status, if it has ended by itself.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.process.child().try_wait()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell(logs: &Path, script: &str) -> OperatorProcess {
        let command = OperatorCommand {
            name: "operator".to_owned(),
            binary: "sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: vec![("GREETING".to_owned(), "hello".to_owned())],
            logs: logs.to_owned(),
        };
        OperatorProcess::start(&command).unwrap()
    }

    /// It has by then set up what it does with signals.
    async fn said_something(operator: &OperatorProcess) {
        while std::fs::read_to_string(operator.log()).unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// Answers like a `/readyz` that is ready at the second time of asking.
    async fn readyz() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for status in ["503 Service Unavailable", "200 OK"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        url
    }

    #[tokio::test]
    async fn it_is_ready_when_it_says_so_and_ends_as_it_likes_when_asked() {
        let logs = tempfile::tempdir().unwrap();
        let mut operator = shell(logs.path(), "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done");
        operator.ready(&readyz().await, LIMIT).await.unwrap();
        said_something(&operator).await;
        assert!(operator.ended().unwrap().is_none());
        assert_eq!(operator.terminate(LIMIT).await.unwrap().code(), Some(7));
    }

    #[tokio::test]
    async fn one_that_ends_before_it_is_ready_is_an_error_with_its_last_words() {
        let logs = tempfile::tempdir().unwrap();
        let mut operator = shell(logs.path(), "echo $GREETING and goodbye; exit 3");
        let error = operator.ready("http://127.0.0.1:1/readyz", LIMIT).await.unwrap_err().to_string();
        assert!(error.contains("hello and goodbye") && error.contains("exit status: 3"), "{error}");
        assert!(operator.terminate(LIMIT).await.unwrap_err().to_string().contains("ended already"));
    }

    #[tokio::test]
    async fn one_that_ignores_sigterm_can_still_be_killed() {
        let logs = tempfile::tempdir().unwrap();
        let script = "trap '' TERM; echo deaf; while :; do sleep 0.01; done";
        let operator = shell(logs.path(), script);
        said_something(&operator).await;
        let error = operator.terminate(Duration::from_millis(50)).await.unwrap_err().to_string();
        assert!(error.contains("still runs"), "{error}");
        let killed = shell(logs.path(), script);
        killed.kill().await.unwrap();
    }
}
