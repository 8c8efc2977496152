//! Who got how many requests, and how many of them failed: an account over time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::scenario::{Conduct, Load};

/// How requests went within a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// How many.
    pub requests: f64,
    /// How many failed.
    pub failed: f64,
}

/// Requests of both versions within a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flow {
    /// The new version's.
    pub new: Count,
    /// The stable version's.
    pub stable: Count,
}

/// The account.
#[derive(Clone, Debug)]
pub struct Ledger {
    asked: Timestamp,
    load: Vec<Load>,
    stable: Conduct,
    new: Vec<Conduct>,
    /// The new version's part of the traffic, 0 to 1, from when on.
    shares: Vec<(Timestamp, f64)>,
    first: Option<Timestamp>,
}

impl Ledger {
    /// An empty account. Without requests of its own, the new version behaves as the stable one.
    pub fn new(asked: Timestamp, load: Vec<Load>, stable: Conduct, new: Vec<Conduct>) -> Self {
        Self { asked, load, stable, new, shares: Vec::new(), first: None }
    }

    /// The new version gets this part from now on.
    pub fn share(&mut self, at: Timestamp, share: f64) {
        if self.now_share() == share {
            return;
        }
        if share > 0.0 {
            self.first.get_or_insert(at);
        }
        self.shares.push((at, share));
    }

    /// The part that it gets.
    pub fn now_share(&self) -> f64 {
        self.shares.last().map_or(0.0, |(_, share)| *share)
    }

    /// The largest part that it ever got.
    pub fn largest_share(&self) -> f64 {
        self.shares.iter().map(|(_, share)| *share).fold(0.0, f64::max)
    }

    /// All changes of its part.
    pub fn shares(&self) -> &[(Timestamp, f64)] {
        &self.shares
    }

    /// When it got its first traffic.
    pub fn first(&self) -> Option<Timestamp> {
        self.first
    }

    /// When its requests first went worse than the stable version's; none if they never do.
    pub fn worse_from(&self) -> Option<Timestamp> {
        let first = self.first?;
        let worse = self.new.iter().find(|conduct| {
            conduct.error_rate > self.stable.error_rate || conduct.latency_seconds > self.stable.latency_seconds
        })?;
        let from = first + SignedDuration::from(worse.after);
        // Only while it gets any.
        self.shares.iter().any(|(at, share)| *share > 0.0 && *at >= from).then_some(from).or_else(|| {
            let before = self.shares.iter().rev().find(|(at, _)| *at <= from)?;
            (before.1 > 0.0).then_some(from)
        })
    }

    /// How the stable version's requests go.
    pub fn stable_conduct(&self) -> Conduct {
        self.stable
    }

    /// How the new version's requests go at a moment.
    pub fn conduct(&self, at: Timestamp) -> Conduct {
        let Some(first) = self.first else { return self.stable };
        let past = self.new.iter().rev().find(|conduct| first + SignedDuration::from(conduct.after) <= at);
        past.copied().unwrap_or(self.stable)
    }

    fn load_at(&self, at: Timestamp) -> f64 {
        let past = self.load.iter().rev().find(|load| self.asked + SignedDuration::from(load.after) <= at);
        past.or(self.load.first()).map_or(0.0, |load| load.requests_per_second)
    }

    fn share_at(&self, at: Timestamp) -> f64 {
        let past = self.shares.partition_point(|(from, _)| *from <= at);
        past.checked_sub(1).and_then(|index| self.shares.get(index)).map_or(0.0, |(_, share)| *share)
    }

    /// Requests from `from` until `until`.
    pub fn between(&self, from: Timestamp, until: Timestamp) -> Flow {
        let mut edges = vec![from, until];
        let within = |at: &Timestamp| *at > from && *at < until;
        let first_visible = self.shares.partition_point(|(at, _)| *at <= from);
        edges.extend(self.shares[first_visible..].iter().map(|(at, _)| *at).take_while(|at| *at < until));
        edges.extend(self.load.iter().map(|load| self.asked + SignedDuration::from(load.after)).filter(within));
        if let Some(first) = self.first {
            edges.extend(self.new.iter().map(|conduct| first + SignedDuration::from(conduct.after)).filter(within));
        }
        edges.sort_unstable();
        let mut flow = Flow::default();
        for pair in edges.windows(2) {
            let (start, end) = (pair[0], pair[1]);
            let requests =
                self.load_at(start) * Duration::try_from(end.duration_since(start)).unwrap_or_default().as_secs_f64();
            let share = self.share_at(start);
            let add = |count: &mut Count, requests: f64, rate: f64| {
                count.requests += requests;
                count.failed += requests * rate;
            };
            add(&mut flow.new, requests * share, self.conduct(start).error_rate);
            add(&mut flow.stable, requests * (1.0 - share), self.stable.error_rate);
        }
        flow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn secs(seconds: u64) -> lockkeeper_api::scalar::Duration {
        lockkeeper_api::scalar::Duration::from_secs(seconds)
    }

    fn ledger() -> Ledger {
        let load = vec![
            Load { after: secs(0), requests_per_second: 100.0 },
            Load { after: secs(60), requests_per_second: 10.0 },
        ];
        let bad = Conduct { after: secs(20), error_rate: 0.5, latency_seconds: 2.0 };
        let mut ledger = Ledger::new(at(0), load, Conduct { error_rate: 0.01, ..Conduct::default() }, vec![bad]);
        ledger.share(at(10), 0.1);
        ledger.share(at(40), 0.0);
        ledger
    }

    #[test]
    fn requests_are_counted_by_load_share_and_error_rate() {
        let flow = ledger().between(at(0), at(70));
        // 30 s of 100 a second, a tenth; from second 30 on, half of them fail.
        assert!((flow.new.requests - 300.0).abs() < 1e-9);
        assert!((flow.new.failed - (200.0 * 0.01 + 100.0 * 0.5)).abs() < 1e-9, "{flow:?}");
        assert!((flow.new.requests + flow.stable.requests - 6100.0).abs() < 1e-9);
    }

    #[test]
    fn what_lies_outside_is_not_counted() {
        assert_eq!(ledger().between(at(40), at(60)).new, Count::default());
        assert_eq!(ledger().between(at(5), at(5)), Flow::default());
    }

    #[test]
    fn it_is_worse_from_when_its_conduct_changes_and_only_if_it_gets_any() {
        assert_eq!(ledger().worse_from(), Some(at(30)));
        let mut short = ledger();
        short.shares = vec![(at(10), 0.1), (at(20), 0.0)];
        assert_eq!(short.worse_from(), None);
    }
}
