//! What watches tell while a story goes on: every state, not only the last.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use lockkeeper_api::release::{Release, ReleaseStatus};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{App, LIMIT, Story};

/// Every status of the Release `web` that has been published, in order.
pub struct Diary {
    statuses: Arc<Mutex<Vec<ReleaseStatus>>>,
    reader: JoinHandle<()>,
}

impl Story<'_> {
    /// Begins to write down the statuses; returns when no later one can be missed.
    pub async fn diary(&self) -> Result<Diary> {
        let config = watcher::Config::default().fields("metadata.name=web");
        let statuses = Arc::new(Mutex::new(Vec::new()));
        let written = statuses.clone();
        let stream = watcher(self.api::<Release>(), config).default_backoff();
        let reader = read(stream, move |event| {
            let (Event::Apply(release) | Event::InitApply(release)) = event else { return };
            let Some(status) = release.status else { return };
            let mut written = written.lock();
            if written.last() != Some(&status) {
                written.push(status);
            }
        });
        Ok(Diary { statuses, reader: reader.await? })
    }
}

impl Diary {
    /// Waits until the last one that the API server has is written down.
    pub async fn caught_up(&self, story: &Story<'_>) -> Result<()> {
        let last = story.status().await?;
        let written = async {
            while self.statuses.lock().last() != Some(&last) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LIMIT, written).await.context("the watch has not told of the last status")
    }

    /// What has been written down so far.
    pub fn statuses(&self) -> Vec<ReleaseStatus> {
        self.statuses.lock().clone()
    }
}

impl Drop for Diary {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The pods of an application whose deletion somebody has asked for.
pub struct Deaths {
    images: Arc<Mutex<Vec<(String, String)>>>,
    reader: JoinHandle<()>,
}

impl App<'_> {
    /// Begins to note deaths; returns when no later one can be missed.
    pub async fn deaths(&self) -> Result<Deaths> {
        let config = watcher::Config::default().labels(&format!("app={}", self.name));
        let images = Arc::new(Mutex::new(Vec::new()));
        let noted = images.clone();
        let stream = watcher(self.story.api::<Pod>(), config).default_backoff();
        let reader = read(stream, move |event| {
            let pod = match event {
                Event::Delete(pod) => pod,
                Event::Apply(pod) if pod.metadata.deletion_timestamp.is_some() => pod,
                Event::Apply(_) | Event::Init | Event::InitApply(_) | Event::InitDone => return,
            };
            let image = pod.spec.iter().flat_map(|spec| &spec.containers).find_map(|c| c.image.clone());
            let death = (pod.name_any(), image.unwrap_or_default());
            let mut noted = noted.lock();
            if !noted.contains(&death) {
                noted.push(death);
            }
        });
        Ok(Deaths { images, reader: reader.await? })
    }
}

impl Deaths {
    /// Names of the pods of this version that have been deleted.
    pub fn of(&self, version: &str) -> Vec<String> {
        let image = format!("demo:{version}");
        let deaths = self.images.lock();
        deaths.iter().filter(|(_, of)| *of == image).map(|(name, _)| name.clone()).collect()
    }
}

impl Drop for Deaths {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Hands over every event of a watch, and returns when the first list is complete.
async fn read<K: Send + 'static>(
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    mut note: impl FnMut(Event<K>) + Send + 'static,
) -> Result<JoinHandle<()>> {
    let (begun, begins) = oneshot::channel();
    let mut begun = Some(begun);
    let reader = tokio::spawn(async move {
        let mut stream = Box::pin(stream);
        while let Some(event) = stream.next().await {
            // A broken watch starts again by itself.
            let Ok(event) = event else { continue };
            let complete = matches!(event, Event::InitDone);
            note(event);
            if let Some(begun) = begun.take_if(|_| complete) {
                let _ = begun.send(());
            }
        }
    });
    begins.await.context("the watch has ended")?;
    Ok(reader)
}
