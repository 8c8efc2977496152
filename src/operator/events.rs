//! Events for people: best effort, after the fact, never in the way of a write.

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
                action: reason.clone(),
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

fn cut(mut note: String) -> String {
    if note.len() > NOTE_MAX {
        note.truncate(note.floor_char_boundary(NOTE_MAX - 3));
        note.push_str("...");
    }
    note
}
