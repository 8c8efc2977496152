//! When a service wants to be asked again.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// However long a service asks for, a Release is not left without data for longer.
const LONGEST: Duration = Duration::from_secs(600);

/// The time to wait by `Retry-After`, which holds seconds or a date; at most ten minutes. A date is compared with the
/// service's own clock (`Date`), where it tells it, rather than with ours (`now`).
pub(super) fn read(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let wait = date(headers, RETRY_AFTER)?.duration_since(date(headers, DATE).unwrap_or(now));
            Duration::try_from(wait).unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(LONGEST))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<Timestamp> {
    rfc2822::parse(headers.get(name)?.to_str().ok()?.trim()).ok().map(|date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(retry_after: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        date.map(|date| headers.insert(DATE, date.parse().unwrap()));
        read(&headers, "2026-11-06T08:49:30Z".parse().unwrap())
    }

    #[test]
    fn seconds_and_dates_are_read_and_nonsense_is_none() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(wait("7", None), seconds(7));
        assert_eq!(wait("0", None), seconds(0));
        assert_eq!(wait("Fri, 06 Nov 2026 08:49:37 GMT", None), seconds(7));
        assert_eq!(wait("Fri, 06 Nov 2026 08:49:37 GMT", Some("Fri, 06 Nov 2026 08:49:17 GMT")), seconds(20));
        assert_eq!(wait("Fri, 06 Nov 2026 08:49:00 GMT", None), seconds(0), "a date that has passed");
        assert_eq!(wait("86400", None), seconds(600), "never longer than ten minutes");
        assert_eq!(wait("Sat, 06 Nov 2027 08:49:00 GMT", Some("Sat, 07 Nov 2026 08:49:00 GMT")), seconds(600));
        assert_eq!(wait("soon", None), None);
        assert_eq!(wait("-7", None), None);
        assert_eq!(read(&HeaderMap::new(), Timestamp::UNIX_EPOCH), None);
    }
}
