//! People, Git syncs, autoscalers: whoever does something once, at a time or when something has come about.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;

use super::{Actor, Turn};
use crate::api::{Kind, Snapshot};

/// When something is done.
pub enum When {
    /// So long after the beginning.
    At(Duration),
    /// As soon as the cluster is so.
    Once(Box<dyn Fn(&Snapshot) -> bool + Send>),
    /// So long after that what came before was done.
    After(Duration),
}

/// What is done. It may write what the API server refuses; that is then so.
pub type Act = Box<dyn FnOnce(&mut Turn<'_>) + Send>;

/// What is done, one after the other.
#[derive(Default)]
pub struct Script {
    acts: VecDeque<(When, Act)>,
    start: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl Script {
    /// Adds what is done then.
    pub fn then(mut self, when: When, act: impl FnOnce(&mut Turn<'_>) + Send + 'static) -> Self {
        self.acts.push_back((when, Box::new(act)));
        self
    }
}

impl Actor for Script {
    fn watches(&self) -> &'static [Kind] {
        &Kind::ALL
    }

    fn step(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        let start = *self.start.get_or_insert(turn.now);
        let last = *self.last.get_or_insert(start);
        let (when, _) = self.acts.front()?;
        let due = match when {
            When::At(after) => start + *after,
            When::After(after) => last + *after,
            When::Once(holds) if holds(turn.server.store().objects()) => turn.now,
            When::Once(_) => return None,
        };
        if due > turn.now {
            return Some(due);
        }
        if let Some((_, act)) = self.acts.pop_front() {
            act(turn);
        }
        self.last = Some(turn.now);
        Some(turn.now)
    }
}
