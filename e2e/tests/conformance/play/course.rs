//! How things went in between: not where a release ended, but by which steps.

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use kube::Client;
use lockkeeper_simulator::api::Kind;
use lockkeeper_simulator::api::object::{list, name, text};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::EVENT;
use super::request::{Ask, open, send};

/// What is told of each: the order of these words is the operator's doing alone.
const KINDS: [Kind; 4] = [Kind::Deployment, Kind::Service, Kind::HTTPRoute, Kind::Release];

/// Everything that has happened to a few objects since it began to look.
pub struct Course(Vec<Following>);

struct Following {
    kind: Kind,
    /// The version after which it looks.
    since: u64,
    events: UnboundedReceiver<Value>,
    task: JoinHandle<()>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Course {
    pub async fn begin(client: &Client, namespace: &str) -> Result<Course> {
        let mut watches = Vec::new();
        for kind in KINDS {
            let listed = send(client.clone(), &Ask::list(kind, &[]), namespace).await?.body;
            let since = version(&listed);
            let ask = Ask::watch(kind, &[("resourceVersion", &since.to_string())]);
            let (code, mut lines) = open(client.clone(), &ask, namespace).await?;
            if code != 200 {
                bail!("{ask} is answered with {code}");
            }
            let (sender, events) = unbounded_channel();
            // Read at once: an API server ends watches that nobody reads.
            let task = tokio::spawn(async move {
                while let Some(Ok(line)) = lines.next().await {
                    let _ = sender.send(serde_json::from_str(&line).unwrap_or_default());
                }
            });
            watches.push(Following { kind, since, events, task });
        }
        Ok(Course(watches))
    }

    /// What was told of the objects, one after the other by version, without repetitions; up to what there is now.
    pub async fn end(mut self, client: &Client, namespace: &str) -> Result<Vec<String>> {
        let mut told: Vec<(u64, String)> = Vec::new();
        for Following { kind, since: seen, events, .. } in &mut self.0 {
            let listed = send(client.clone(), &Ask::list(*kind, &[]), namespace).await?.body;
            let newest = list(&listed["items"]).iter().map(version).max().unwrap_or_default();
            let mut last = String::new();
            while *seen < newest {
                let event =
                    timeout(EVENT, events.recv()).await.with_context(|| format!("{kind:?} has more versions"))?;
                let event = event.with_context(|| format!("the watch of {kind:?} has ended"))?;
                let object = &event["object"];
                *seen = version(object);
                let line = word(*kind, text(&event["type"]), object);
                if line != last {
                    told.push((*seen, line.clone()));
                    last = line;
                }
            }
        }
        told.sort();
        Ok(told.into_iter().map(|(_, line)| line).collect())
    }
}

fn version(object: &Value) -> u64 {
    text(&object["metadata"]["resourceVersion"]).parse().unwrap_or_default()
}

fn word(kind: Kind, event: &str, object: &Value) -> String {
    let said = match kind {
        Kind::Deployment => {
            let paused = if object["spec"]["paused"] == true { "paused" } else { "not paused" };
            format!("{} {paused}", text(&object["spec"]["template"]["spec"]["containers"][0]["image"]))
        }
        Kind::Service => object["spec"]["selector"].to_string(),
        Kind::HTTPRoute => {
            let backends = list(&object["spec"]["rules"]).iter().flat_map(|rule| list(&rule["backendRefs"]));
            let backends = backends.map(|backend| format!("{} {}", text(&backend["name"]), weight(backend)));
            backends.collect::<Vec<_>>().join(", ")
        }
        Kind::Release => {
            let status = &object["status"];
            format!("{} step {} weight {}", text(&status["phase"]), status["step"]["index"], status["weight"])
        }
        Kind::Namespace
        | Kind::ReplicaSet
        | Kind::ControllerRevision
        | Kind::Pod
        | Kind::EndpointSlice
        | Kind::DeploymentWindow
        | Kind::RollbackPolicy
        | Kind::Decision
        | Kind::Lease
        | Kind::ValidatingAdmissionPolicy
        | Kind::ValidatingAdmissionPolicyBinding
        | Kind::MutatingAdmissionPolicy
        | Kind::MutatingAdmissionPolicyBinding => String::new(),
    };
    let gone = if event == "DELETED" { " (deleted)" } else { "" };
    format!("{} {}: {said}{gone}", kind.served().plural, name(object))
}

/// The default of the real API server, which the model does not give.
fn weight(backend: &Value) -> i64 {
    backend["weight"].as_i64().unwrap_or(1)
}
