//! How things went in between: not where a release ended, but by which steps.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use kube::Client;
use lockkeeper_simulator::api::Kind;
use lockkeeper_simulator::api::object::{list, name, text};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::EVENT;
use super::request::{Ask, open, send};

/// What is told of each: the order of these words is the operator's doing alone.
const KINDS: [Kind; 4] = [Kind::Deployment, Kind::Service, Kind::HTTPRoute, Kind::Release];

/// Everything that has happened to a few objects since it began to look.
pub struct Course(Vec<Following>);

struct Following {
    kind: Kind,
    /// Versions of the objects that are there, by name, as far as it has been told.
    known: BTreeMap<String, u64>,
    events: UnboundedReceiver<Value>,
    /// Ends with it.
    _task: JoinSet<()>,
}

impl Course {
    pub async fn begin(client: &Client, namespace: &str) -> Result<Course> {
        let mut watches = Vec::new();
        for kind in KINDS {
            let listed = send(client.clone(), &Ask::list(kind, &[]), namespace).await?.body;
            let ask = Ask::watch(kind, &[("resourceVersion", text(&listed["metadata"]["resourceVersion"]))]);
            let (code, mut lines) = open(client.clone(), &ask, namespace).await?;
            if code != 200 {
                bail!("{ask} is answered with {code}");
            }
            let (sender, events) = unbounded_channel();
            // Read at once: an API server ends watches that nobody reads.
            let mut task = JoinSet::new();
            task.spawn(async move {
                while let Some(Ok(line)) = lines.next().await {
                    let _ = sender.send(serde_json::from_str(&line).unwrap_or_default());
                }
            });
            watches.push(Following { kind, known: versions(&listed), events, _task: task });
        }
        Ok(Course(watches))
    }

    /// What was told of the objects, one after the other by version, without repetitions; up to what there is now.
    pub async fn end(self, client: &Client, namespace: &str) -> Result<Vec<String>> {
        let mut told: Vec<(u64, String)> = Vec::new();
        for Following { kind, mut known, mut events, .. } in self.0 {
            let listed = send(client.clone(), &Ask::list(kind, &[]), namespace).await?.body;
            let now = versions(&listed);
            let mut last: BTreeMap<String, String> = BTreeMap::new();
            loop {
                let event = match events.try_recv() {
                    Ok(event) => event,
                    Err(_) if known == now => break,
                    Err(_) => {
                        let event = timeout(EVENT, events.recv()).await;
                        let event = event.with_context(|| format!("{kind:?} has had more versions"))?;
                        event.with_context(|| format!("the watch of {kind:?} has ended"))?
                    }
                };
                let (object, line) = (&event["object"], word(kind, &event));
                match event["type"] == "DELETED" {
                    true => known.remove(name(object)),
                    false => known.insert(name(object).to_owned(), version(object)),
                };
                if last.insert(name(object).to_owned(), line.clone()).as_ref() != Some(&line) {
                    told.push((version(object), line));
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

fn versions(listed: &Value) -> BTreeMap<String, u64> {
    list(&listed["items"]).iter().map(|object| (name(object).to_owned(), version(object))).collect()
}

fn word(kind: Kind, event: &Value) -> String {
    let object = &event["object"];
    let said = match kind {
        Kind::Deployment => {
            let paused = if object["spec"]["paused"] == true { "paused" } else { "not paused" };
            format!("{} {paused}", text(&object["spec"]["template"]["spec"]["containers"][0]["image"]))
        }
        Kind::Service => object["spec"]["selector"].to_string(),
        Kind::HTTPRoute => {
            let backends = list(&object["spec"]["rules"]).iter().flat_map(|rule| list(&rule["backendRefs"]));
            let backends = backends.map(|backend| format!("{} {}", text(&backend["name"]), weight(backend)));
            let parents = list(&object["spec"]["parentRefs"]).iter().map(|parent| text(&parent["name"]));
            format!("{} by {}", backends.collect::<Vec<_>>().join(", "), parents.collect::<Vec<_>>().join(", "))
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
    let gone = if event["type"] == "DELETED" { " (deleted)" } else { "" };
    format!("{} {}: {said}{gone}", kind.served().plural, name(object))
}

/// The default of the real API server, which the model does not give.
fn weight(backend: &Value) -> i64 {
    backend["weight"].as_i64().unwrap_or(1)
}
