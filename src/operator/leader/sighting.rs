//! The follower's decision, without a client: what was seen of the Lease, and what follows.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use tokio::time::Instant;

/// What is known of the Lease, and since when by the clock of this process.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sighting {
    /// The resource version; `None` when there is no Lease.
    version: Option<String>,
    spec: LeaseSpec,
    since: Instant,
}

/// Takes in what was seen `now`. A Lease that says the same as before has not been renewed.
pub(super) fn see(before: Option<Sighting>, lease: Option<Lease>, now: Instant) -> Sighting {
    let Some(lease) = lease else { return Sighting { version: None, spec: LeaseSpec::default(), since: now } };
    let spec = lease.spec.unwrap_or_default();
    let same = before.filter(|before| before.version.is_some() && before.spec == spec);
    Sighting { version: lease.metadata.resource_version, since: same.map_or(now, |same| same.since), spec }
}

/// What a follower does next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// Create the Lease, for nobody: where it was removed, its holder may not have noticed yet.
    Create,
    /// Take the Lease if it still has this version.
    Take {
        version: String,
        transitions: i32,
    },
    Wait(Instant),
}

/// What the process named `me` does `now`. `default` is how long a Lease keeps others out that does not say so itself.
pub(super) fn evaluate(
    Sighting { version, spec, since }: &Sighting,
    me: &str,
    default: Duration,
    now: Instant,
) -> Next {
    let Some(version) = version else { return Next::Create };
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty());
    let ours = holder == Some(me);
    if holder.is_some() && !ours {
        let published = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let until = *since + published.map_or(default, Duration::from_secs);
        if now < until {
            return Next::Wait(until);
        }
    }
    let transitions = spec.lease_transitions.unwrap_or(0).saturating_add(i32::from(!ours));
    Next::Take { version: version.clone(), transitions }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

    use super::*;

    const OURS: Duration = Duration::from_secs(4);

    fn lease(version: &str, holder: &str, renewed: i64) -> Lease {
        let spec = LeaseSpec {
            holder_identity: (!holder.is_empty()).then(|| holder.into()),
            renew_time: Some(MicroTime(jiff::Timestamp::from_second(renewed).unwrap())),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(7),
            ..LeaseSpec::default()
        };
        let metadata = ObjectMeta { resource_version: Some(version.into()), ..ObjectMeta::default() };
        Lease { metadata, spec: Some(spec) }
    }

    /// What follows when these are seen one second apart, decided `after` the last; waits are told from the first on.
    fn next(seen: &[Option<Lease>], after: u64) -> Result<Next, u64> {
        let start = Instant::now();
        let second = |n: u64| start + Duration::from_secs(n);
        let mut sighting = None;
        let mut last = 0;
        for (n, lease) in (0..).zip(seen) {
            sighting = Some(see(sighting, lease.clone(), second(n)));
            last = n;
        }
        match evaluate(&sighting.unwrap(), "me", OURS, second(last + after)) {
            Next::Wait(until) => Err((until - start).as_secs()),
            write @ (Next::Create | Next::Take { .. }) => Ok(write),
        }
    }

    fn take(version: &str, transitions: i32) -> Result<Next, u64> {
        Ok(Next::Take { version: version.into(), transitions })
    }

    #[test]
    fn without_a_lease_one_is_created_at_once() {
        assert_eq!(next(&[None], 0), Ok(Next::Create));
    }

    #[test]
    fn a_free_lease_is_taken_at_once() {
        assert_eq!(next(&[Some(lease("1", "", 0))], 0), take("1", 8));
        let mut emptied = lease("1", "", 0);
        emptied.spec.as_mut().unwrap().holder_identity = Some(String::new());
        assert_eq!(next(&[Some(emptied)], 0), take("1", 8));
        assert_eq!(next(&[Some(Lease { spec: None, ..lease("1", "", 0) })], 0), take("1", 1));
    }

    #[test]
    fn our_own_lease_is_taken_again_at_once_and_is_no_transition() {
        assert_eq!(next(&[Some(lease("1", "me", 0))], 0), take("1", 7));
    }

    #[test]
    fn anothers_lease_is_waited_for_from_when_it_was_first_seen_for_as_long_as_it_says() {
        assert_eq!(next(&[Some(lease("1", "you", 0))], 14), Err(15));
        assert_eq!(next(&[Some(lease("1", "you", 0))], 15), take("1", 8));
    }

    #[test]
    fn the_time_written_in_the_lease_does_not_matter() {
        for renewed in [0, 4_000_000_000] {
            assert_eq!(next(&[Some(lease("1", "you", renewed))], 0), Err(15), "{renewed}");
        }
    }

    #[test]
    fn a_renewal_starts_the_wait_again() {
        assert_eq!(next(&[Some(lease("1", "you", 0)), Some(lease("2", "you", 1))], 0), Err(16));
    }

    #[test]
    fn a_write_that_renews_nothing_does_not_but_the_newest_version_counts() {
        let seen = [Some(lease("1", "you", 0)), Some(lease("2", "you", 0))];
        assert_eq!(next(&seen, 0), Err(15));
        assert_eq!(next(&seen, 14), take("2", 8));
    }

    #[test]
    fn a_lease_without_a_duration_or_with_nonsense_is_waited_for_by_our_own() {
        for duration in [None, Some(-3)] {
            let mut odd = lease("1", "you", 0);
            odd.spec.as_mut().unwrap().lease_duration_seconds = duration;
            assert_eq!(next(&[Some(odd)], 0), Err(4), "{duration:?}");
        }
    }

    #[test]
    fn a_removed_lease_is_created_again_whoever_had_it() {
        for holder in ["", "me", "you"] {
            assert_eq!(next(&[Some(lease("1", holder, 0)), None], 0), Ok(Next::Create), "{holder:?}");
        }
    }

    #[test]
    fn a_lease_that_came_back_is_as_good_as_renewed() {
        assert_eq!(next(&[Some(lease("1", "you", 0)), None, Some(lease("3", "you", 0))], 0), Err(17));
    }
}
