//! News that something has changed. Whoever waits is woken in the order in which they began to wait: `tokio::sync::watch` wakes in an order that
//! no seed reaches.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Shared {
    told: AtomicU64,
    waiting: Notify,
}

/// Where news comes from.
#[derive(Debug, Default)]
pub struct News(Arc<Shared>);

impl News {
    /// Something has changed.
    pub fn tell(&self) {
        self.0.told.fetch_add(1, Relaxed);
        self.0.waiting.notify_waiters();
    }

    /// Hears of whatever is told from now on.
    pub fn subscribe(&self) -> Listener {
        Listener { heard: self.0.told.load(Relaxed), from: self.0.clone() }
    }
}

/// Somebody who waits for news.
#[derive(Debug)]
pub struct Listener {
    from: Arc<Shared>,
    heard: u64,
}

impl Listener {
    /// What has been told so far is no news any more.
    pub fn mark(&mut self) {
        self.heard = self.from.told.load(Relaxed);
    }

    /// Waits until there is news, unless there is already.
    pub async fn changed(&mut self) {
        let mut notified = std::pin::pin!(self.from.waiting.notified());
        notified.as_mut().enable();
        if self.from.told.load(Relaxed) == self.heard {
            notified.await;
        }
        self.heard = self.from.told.load(Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn whoever_subscribes_hears_of_what_is_told_from_then_on() {
        let news = News::default();
        news.tell();
        let mut listener = news.subscribe();
        assert_eq!(listener.changed().now_or_never(), None);
        news.tell();
        assert_eq!(listener.changed().now_or_never(), Some(()));
        assert_eq!(listener.changed().now_or_never(), None);
        news.tell();
        listener.mark();
        assert_eq!(listener.changed().now_or_never(), None);
    }
}
