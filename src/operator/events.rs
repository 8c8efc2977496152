//! Events for people: best effort, after the fact, never in the way of a write.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event as KubeEvent, EventType, Recorder, Reporter},
};
use lockkeeper_engine::Event;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::debug;

/// Events that may wait for the API server; more are dropped.
const WAITING_MAX: usize = 1024;
/// Kubernetes' own limit of a note, in bytes.
const NOTE_MAX: usize = 1024;

type Item = (ObjectReference, Event);

/// Takes events, and sends them when the API server has time.
#[allow(missing_debug_implementations, reason = "kube's recorder has no Debug")]
pub struct Events {
    sender: mpsc::Sender<Item>,
    receiver: Mutex<Option<mpsc::Receiver<Item>>>,
    recorder: Recorder,
}

impl Events {
    /// Events are reported in the name of this process.
    pub fn new(client: Client, identity: String) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let recorder = Recorder::new(client, Reporter { controller: "lockkeeper".into(), instance: Some(identity) });
        Self { sender, receiver: Mutex::new(Some(receiver)), recorder }
    }

    /// Takes an event about an object.
    pub fn send(&self, object: ObjectReference, event: Event) {
        if self.sender.try_send((object, event)).is_err() {
            debug!("too many events are waiting: one was dropped");
        }
    }

    /// Sends events, one after the other, for ever. To be run once.
    pub async fn run(&self) {
        let Some(mut receiver) = self.receiver.lock().take() else { return };
        while let Some((object, Event { reason, warning, note })) = receiver.recv().await {
            let event = KubeEvent {
                type_: if warning { EventType::Warning } else { EventType::Normal },
                action: action(&reason, &note),
                reason,
                note: Some(cut(note)),
                secondary: None,
            };
            if let Err(error) = self.recorder.publish(&event, &object).await {
                debug!(%error, reason = event.reason, "failed to send an event");
            }
        }
    }
}

/// The recorder takes events that differ only in their notes for repetitions of the first, whose note then stays: a second weight
/// would be told as the first one again. What tells them apart is the action, which kubectl does not show.
fn action(reason: &str, note: &str) -> String {
    let mut hasher = DefaultHasher::new();
    note.hash(&mut hasher);
    format!("{reason}-{:016x}", hasher.finish())
}

fn cut(mut note: String) -> String {
    if note.len() > NOTE_MAX {
        note.truncate(note.floor_char_boundary(NOTE_MAX - 3));
        note.push_str("...");
    }
    note
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use http_body_util::BodyExt;
    use kube::client::Body;
    use serde_json::Value;

    use super::*;

    #[tokio::test]
    async fn a_repetition_is_counted_and_another_note_is_another_event() {
        let sent: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let (log, last) = (sent.clone(), Arc::new(tokio::sync::Notify::new()));
        let told = last.clone();
        let server = tower::service_fn(move |request: http::Request<Body>| {
            let (log, told) = (log.clone(), told.clone());
            async move {
                let method = request.method().to_string();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let note = serde_json::from_slice::<Value>(&body).unwrap()["note"].clone();
                let mut log = log.lock();
                log.push((method, note));
                if log.len() == 3 {
                    told.notify_one();
                }
                let event = serde_json::json!({"metadata": {"name": "e", "namespace": "shop"}, "eventTime": null});
                Ok::<_, Infallible>(http::Response::new(Body::from(event.to_string().into_bytes())))
            }
        });
        let events = Events::new(Client::new(server, "shop"), "test".into());
        for note in ["weight 20", "weight 50", "weight 50"] {
            let object = ObjectReference { namespace: Some("shop".into()), ..ObjectReference::default() };
            events.send(object, Event { reason: "WeightIncreased".into(), warning: false, note: note.into() });
        }
        tokio::select! {
            () = events.run() => {}
            () = last.notified() => {}
        }
        let sent: Vec<_> = sent.lock().iter().map(|(method, note)| (method.clone(), note.clone())).collect();
        let created = |note: &str| ("POST".to_owned(), Value::from(note));
        assert_eq!(sent[..2], [created("weight 20"), created("weight 50")]);
        assert_eq!(sent[2].0, "PATCH");
    }
}
