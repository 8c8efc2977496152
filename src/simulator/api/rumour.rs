//! What may befall news on its way to a watch.

use std::time::Duration;

use super::{Change, Kind};

/// How badly news travels. Each number is of a hundred deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rumour {
    /// The connection breaks instead; whoever watches comes back with the last version that he knows.
    pub lost: u8,
    /// The server ends the watch instead, because it has forgotten that version: whoever watches has to list again.
    pub expired: u8,
    /// It arrives a second time.
    pub twice: u8,
    /// Of several changes of an object only the last is told, also across a deletion.
    pub merged: u8,
    /// Whoever connects anew may come to a replica that is behind by up to so much: it lists how things were, and
    /// catches up within a second. (A real API server lists what is now unless it is allowed to be older. Promises hold all the same; only what is
    /// asked for by name, to prove something, is answered as it promises.)
    pub old: Duration,
}

/// Watches hear nothing for a time: their connections stand, and nobody says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Those of one kind, or all.
    pub kind: Option<Kind>,
    /// How long.
    pub lasts: Duration,
    /// Whether the server has forgotten meanwhile what has happened: whoever watches has to list again, and is told of no deletion.
    pub forgotten: bool,
}

/// How news arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Plain,
    Lost,
    Expired,
    Twice,
    Merged,
}

impl Rumour {
    /// How the next news arrives. Where nothing befalls any, no chance is drawn.
    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> Delivery {
        let parts = [
            (self.lost, Delivery::Lost),
            (self.expired, Delivery::Expired),
            (self.twice, Delivery::Twice),
            (self.merged, Delivery::Merged),
        ];
        if parts.iter().all(|(part, _)| *part == 0) {
            return Delivery::Plain;
        }
        let mut drawn = random.u8(0..100);
        for (part, delivery) in parts {
            if drawn < part {
                return delivery;
            }
            drawn -= part;
        }
        Delivery::Plain
    }
}

/// The last change of each object, as it follows upon how the object was before the first.
pub(super) fn merge(changes: &[Change]) -> Vec<Change> {
    let mut merged: Vec<Change> = Vec::new();
    for change in changes {
        let first = merged.iter().position(|earlier: &Change| earlier.key == change.key);
        let before = first.map_or_else(|| change.before.clone(), |at| merged.remove(at).before);
        merged.push(Change { before, ..change.clone() });
    }
    // What came and went is not told at all.
    merged.retain(|change| !(change.gone && change.before.is_none()));
    merged
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::api::{Key, Kind, Store};

    #[test]
    fn of_several_changes_the_last_is_told_with_how_it_was_before_the_first() {
        let mut store = Store::default();
        let by: Arc<str> = "somebody".into();
        let key = |name: &str| Key::new(Kind::Pod, "shop", name);
        let mut put = |name: &str, value: u8| {
            store.put(&key(name), json!({"metadata": {"name": name}, "value": value}), &by, jiff::Timestamp::UNIX_EPOCH)
        };
        put("a", 1);
        let seen = put("b", 1).version;
        put("a", 2);
        put("c", 1);
        put("a", 3);
        store.remove(&key("c"), None, &by, jiff::Timestamp::UNIX_EPOCH);
        store.remove(&key("b"), None, &by, jiff::Timestamp::UNIX_EPOCH);
        let merged = merge(store.since(Kind::Pod, seen).unwrap());
        let told: Vec<_> = merged
            .iter()
            .map(|change| (change.key.name.as_str(), change.before.as_ref().map(|b| b["value"].clone()), change.gone))
            .collect();
        assert_eq!(told, [("a", Some(json!(1)), false), ("b", Some(json!(1)), true)]);
    }
}
