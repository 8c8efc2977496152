//! Users: a steady stream of requests through the gateway, and what became of each.

mod client;
mod totals;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::task::TaskTracker;

pub(crate) use client::Client;
pub(crate) use totals::Record;
pub use totals::{Failure, Totals};
use totals::{Outcome, totals};

/// A client that has waited this long for an answer counts it as a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether requests share connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connections {
    /// A new connection for each request, as from many users.
    #[default]
    PerRequest,
    /// Connections are used again, as from another service.
    KeptAlive,
}

/// What to send.
#[derive(Clone, Debug)]
pub struct Load {
    /// Host header: what the route listens to.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Requests a second. They start at this rate however slowly the answers come.
    pub per_second: u32,
    /// Whether requests share connections.
    pub connections: Connections,
}

impl Load {
    /// So many GETs of `/` a second, each on a connection of its own.
    pub fn new(host: &str, per_second: u32) -> Load {
        Load { host: host.to_owned(), path: "/".to_owned(), per_second, connections: Connections::PerRequest }
    }
}

/// Requests that go on until `stop`; without, they end when it is dropped.
#[derive(Debug)]
pub struct Traffic {
    records: Arc<Mutex<Vec<Record>>>,
    in_flight: TaskTracker,
    sender: JoinHandle<()>,
}

impl Traffic {
    /// Begins to send, on the current tokio runtime. `gateway` is `Cluster::gateway_url`.
    pub fn start(gateway: &str, load: &Load) -> Traffic {
        let records = Arc::new(Mutex::new(Vec::new()));
        let in_flight = TaskTracker::new();
        let client = Arc::new(Client::new(gateway, load));
        let period = Duration::from_secs(1) / load.per_second.max(1);
        let sender = tokio::spawn(send(client, period, in_flight.clone(), records.clone()));
        Traffic { records, in_flight, sender }
    }

    /// What became of the requests that have been answered, or given up, so far.
    pub fn snapshot(&self) -> Totals {
        totals(self.records.lock().iter())
    }

    /// What became of those that were sent in this time, the end not included.
    pub fn between(&self, from: Timestamp, until: Timestamp) -> Totals {
        totals(self.records.lock().iter().filter(|record| from <= record.sent && record.sent < until))
    }

    /// Sends no more, waits for what is on its way, and tells what became of all.
    pub async fn stop(self) -> Totals {
        self.sender.abort();
        self.in_flight.close();
        self.in_flight.wait().await;
        self.snapshot()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

async fn send(client: Arc<Client>, period: Duration, in_flight: TaskTracker, records: Arc<Mutex<Vec<Record>>>) {
    let mut ticks = interval(period);
    // A late tick is made up for, so that the rate holds.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        ticks.tick().await;
        let (client, records) = (client.clone(), records.clone());
        in_flight.spawn(async move {
            let (sent, begun) = (Timestamp::now(), Instant::now());
            let outcome = match timeout(PATIENCE, client.request()).await {
                Ok(Ok(answer)) => Outcome::Answered(answer),
                Ok(Err(error)) => Outcome::Unanswered(format!("{error:#}")),
                Err(_) => Outcome::Unanswered(format!("no answer within {} s", PATIENCE.as_secs())),
            };
            records.lock().push(Record { sent, took: begun.elapsed(), outcome });
        });
    }
}
