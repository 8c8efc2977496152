//! Leaving a service alone for as long as it wants that, whoever asks next.
//!
//! Many Releases ask one service. Each of them heeding `Retry-After` for itself would still send a throttled service
//! one request from every Release, and wrong credentials tried by all of them lock the account that they belong to.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::error::Fault;

/// How long credentials that were refused are not shown again. New credentials are tried at once.
const REFUSED: Duration = Duration::from_secs(600);

/// Until when a service is not asked, and why.
#[derive(Debug, Default)]
pub(crate) struct Hold(Mutex<Option<(Instant, Fault)>>);

impl Hold {
    /// What the service answered last, if it is still to be left alone `now`; with the rest of the time to wait.
    pub(crate) fn in_force(&self, now: Instant) -> Option<Fault> {
        let (until, fault) = (*self.lock())?;
        let rest = until.checked_duration_since(now).filter(|rest| !rest.is_zero())?;
        Some(match fault {
            Fault::Throttled { .. } => Fault::Throttled { after: Some(rest) },
            Fault::Unavailable { status, .. } => Fault::Unavailable { status, after: Some(rest) },
            other => other,
        })
    }

    /// Takes note of an answer that came `now`; `with_credentials` tells whether any were shown.
    pub(crate) fn note(&self, fault: Fault, with_credentials: bool, now: Instant) {
        let wait = match fault {
            Fault::Throttled { after } | Fault::Unavailable { after, .. } => after,
            Fault::CredentialsRefused { status: 401 } if with_credentials => Some(REFUSED),
            _ => None,
        };
        if let Some(wait) = wait {
            let mut held = self.lock();
            let until = now + wait;
            if held.is_none_or(|(earlier, _)| earlier < until) {
                *held = Some((until, fault));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Fault)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_service_is_left_alone_for_the_rest_of_the_time_that_it_asked_for() {
        let (hold, start) = (Hold::default(), Instant::now());
        assert_eq!(hold.in_force(start), None);
        hold.note(Fault::Throttled { after: Some(seconds(7)) }, false, start);
        assert_eq!(hold.in_force(start + seconds(2)), Some(Fault::Throttled { after: Some(seconds(5)) }));
        assert_eq!(hold.in_force(start + seconds(7)), None);

        hold.note(Fault::Unavailable { status: 503, after: Some(seconds(9)) }, false, start);
        let rest = Fault::Unavailable { status: 503, after: Some(seconds(2)) };
        assert_eq!(hold.in_force(start + seconds(7)), Some(rest));
    }

    #[test]
    fn a_shorter_wait_does_not_cut_a_longer_one_short() {
        let (hold, start) = (Hold::default(), Instant::now());
        hold.note(Fault::Throttled { after: Some(seconds(60)) }, false, start);
        hold.note(Fault::Throttled { after: Some(seconds(1)) }, false, start);
        assert_eq!(hold.in_force(start + seconds(30)), Some(Fault::Throttled { after: Some(seconds(30)) }));
    }

    #[test]
    fn refused_credentials_rest_for_ten_minutes_and_where_none_were_shown_nothing_can_be_locked() {
        let (refused, start) = (Fault::CredentialsRefused { status: 401 }, Instant::now());
        let hold = Hold::default();
        hold.note(refused, false, start);
        hold.note(Fault::CredentialsRefused { status: 403 }, true, start);
        assert_eq!(hold.in_force(start), None);
        hold.note(refused, true, start);
        assert_eq!(hold.in_force(start + seconds(599)), Some(refused));
        assert_eq!(hold.in_force(start + seconds(600)), None);
    }

    #[test]
    fn what_a_later_request_may_well_survive_holds_nothing() {
        let (hold, start) = (Hold::default(), Instant::now());
        for fault in [
            Fault::Throttled { after: None },
            Fault::Unavailable { status: 500, after: None },
            Fault::ConnectionLost,
            Fault::QueryInvalid,
        ] {
            hold.note(fault, true, start);
            assert_eq!(hold.in_force(start), None, "{fault}");
        }
    }
}
