//! That something has changed, told to whoever waits for it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::Notify;

/// Tells of changes. Those who wait are woken in the order in which they began to: tokio's own `watch` channel wakes them in an
/// order that no seed reaches, and two operators would take turns differently in equal runs.
#[derive(Debug, Default)]
pub struct News(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    changes: AtomicU64,
    woken: Notify,
}

/// Hears of changes from when it began.
#[derive(Debug)]
pub struct Listener {
    told: Arc<Told>,
    seen: u64,
}

impl News {
    /// Tells of a change.
    pub fn tell(&self) {
        self.0.changes.fetch_add(1, Relaxed);
        self.0.woken.notify_waiters();
    }

    /// Somebody who hears of the changes from now on.
    pub fn listen(&self) -> Listener {
        Listener { told: self.0.clone(), seen: self.0.changes.load(Relaxed) }
    }
}

impl Listener {
    /// What has been told so far is known.
    pub fn catch_up(&mut self) {
        self.seen = self.told.changes.load(Relaxed);
    }

    /// Waits for a change that is not known yet.
    pub async fn changed(&mut self) {
        loop {
            // Before looking, so that nothing is missed.
            let woken = self.told.woken.notified();
            let changes = self.told.changes.load(Relaxed);
            if changes != self.seen {
                self.seen = changes;
                return;
            }
            woken.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_began() {
        let (news, woken) = (News::default(), Arc::new(parking_lot::Mutex::new(Vec::new())));
        let waiting: Vec<_> = (0..20)
            .map(|number| {
                let (mut listener, woken) = (news.listen(), woken.clone());
                tokio::spawn(async move {
                    listener.changed().await;
                    woken.lock().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        news.tell();
        futures::future::join_all(waiting).await;
        assert_eq!(*woken.lock(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_was_told_before_it_waits_is_not_missed_and_what_is_known_is_not_told_again() {
        let news = News::default();
        let mut listener = news.listen();
        news.tell();
        listener.changed().await;
        news.tell();
        listener.catch_up();
        let waits = futures::FutureExt::now_or_never(listener.changed());
        assert_eq!(waits, None);
    }
}
