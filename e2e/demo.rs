//! The demo application: one server that is every pod. The address it is reached at says which.

mod behaviour;
mod directory;
mod pod;
mod server;

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub use behaviour::Behaviour;
use directory::Directory;
pub use pod::PodCount;

/// Port that every pod listens on.
const PORT: u16 = 8080;

/// Every pod of the cluster. Runs in a thread of its own, so that a busy test does not slow the pods down; ends when dropped.
#[derive(Debug)]
pub struct DemoApp {
    directory: Arc<Directory>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl DemoApp {
    /// Begins to answer for the pods that the API server has and will have.
    pub(crate) async fn start(config: Config) -> Result<DemoApp> {
        let directory = Arc::new(Directory::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let (listening, is_listening) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let pods = directory.clone();
        let thread = thread::Builder::new().name("demo-app".to_owned()).spawn(move || {
            runtime.block_on(async {
                let opened = open(config).await;
                let running = opened.map(|(listener, client)| {
                    tokio::spawn(directory::follow(client, pods.clone()));
                    tokio::spawn(server::serve(listener, pods));
                });
                let _ = listening.send(running);
                // An error means that the other half, and so the app, is gone: the end as well.
                let _ = stopped.await;
            });
        })?;
        is_listening.await.context("the demo app ended")??;
        Ok(DemoApp { directory, stop, thread })
    }

    /// Ends it and returns when its port is free.
    pub(crate) fn end(self) -> Result<()> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow!("the demo app's thread has panicked"))
    }

    /// How many requests each pod of the namespace, also those that are gone, has answered. Those to `/metrics`
    /// and `/healthz` don't count.
    pub fn counts(&self, namespace: &str) -> Vec<PodCount> {
        self.directory.counts(namespace)
    }

    /// Makes the pods of a version behave otherwise than its tag says, from now on: a version that goes bad later.
    pub fn change_behaviour(&self, namespace: &str, version: &str, behaviour: Behaviour) {
        self.directory.change_behaviour(namespace, version, behaviour);
    }
}

async fn open(config: Config) -> Result<(TcpListener, Client)> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await.context("the demo app cannot listen")?;
    Ok((listener, Client::try_from(config)?))
}
