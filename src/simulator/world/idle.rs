//! What a controller has looked at and found nothing to do about: it would find so again, as long as that is the same.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::api::Object;

/// By UID: all that was looked at, what it was about first, and until when there is nothing to do about it.
#[derive(Debug, Default)]
pub struct Idle(BTreeMap<String, (Vec<Arc<Object>>, Option<Timestamp>)>);

impl Idle {
    /// Whether there is nothing to do about the first of these, and until when if that has an end.
    pub fn until(&self, seen: &[Arc<Object>], now: Timestamp) -> Option<Option<Timestamp>> {
        let (before, until) = self.0.get(seen.first()?.uid())?;
        let same = before.len() == seen.len() && before.iter().zip(seen).all(|(before, now)| Arc::ptr_eq(before, now));
        (same && until.is_none_or(|until| now < until)).then_some(*until)
    }

    /// There is nothing to do about the first of these until then.
    pub fn note(&mut self, seen: Vec<Arc<Object>>, until: Option<Timestamp>) {
        if let Some(first) = seen.first() {
            self.0.insert(first.uid().to_owned(), (seen, until));
        }
    }
}
