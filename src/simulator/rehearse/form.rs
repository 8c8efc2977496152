//! What a query asks for, told from what it looks like. PromQL itself is not evaluated: only the forms below are recognised, and whatever
//! else has to be answered by the scenario or by recorded metrics.

use std::time::Duration;

use serde::Serialize;

/// Whose requests a query looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Subject {
    /// The new version's: it uses a placeholder of `candidate`.
    Candidate,
    /// The stable version's.
    Stable,
    /// All of them together.
    Everybody,
}

/// What a query gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Form {
    /// Failed requests by all requests, as a part or in percent.
    ErrorRatio {
        /// Whether in percent.
        percent: bool,
    },
    /// Requests that did not fail by all requests, as a part or in percent.
    SuccessRatio {
        /// Whether in percent.
        percent: bool,
    },
    /// How long requests take.
    Latency {
        /// Whether in milliseconds.
        milliseconds: bool,
    },
    /// Requests within the query's range.
    Requests,
    /// Requests per second.
    RequestRate,
    /// Failed requests within the query's range.
    Failures,
    /// Failed requests per second.
    FailureRate,
}

/// A query whose form is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// Whose requests.
    pub subject: Subject,
    /// What of them.
    pub form: Form,
    /// How far back it looks.
    pub range: Duration,
}

/// How far back a query without a range looks.
const INSTANT: Duration = Duration::from_secs(1);
/// What marks the requests that failed.
const FAILED: [&str; 9] = ["\"5", "5..", "error", "fail", "!~\"2", "!~\"[1-3", "!~\"[23", "!~\"1..|2", "unavailable"];
/// What marks the requests that did not fail.
const GOOD: [&str; 6] = ["!~\"5", "!~\"[5", "!=\"5", "=~\"2", "=~\"[23", "success"];

/// What a query asks for; none if it is of none of these forms:
///
/// - `histogram_quantile(…)`, or sum by count of a duration or latency: latency, in milliseconds if a name says so, otherwise in seconds;
/// - a division with failed requests (status 5xx, or `error` or `fail` in a name): error ratio; with the good ones (`!~"5.."`, `=~"2.."`,
///   `success`), or as `1 - ` an error ratio: success ratio; in percent if 100 is a factor;
/// - no division: requests (`increase`, `sum_over_time`, `count_over_time`) or requests per second (`rate`), failed ones if so marked.
///
/// A query that compares the candidate with the stable version is of no such form.
pub fn classify(query: &str) -> Option<Asked> {
    let query = query.to_lowercase();
    let subject = match (query.contains("candidate."), query.contains("stable.")) {
        (true, false) => Subject::Candidate,
        (false, true) => Subject::Stable,
        (false, false) => Subject::Everybody,
        (true, true) => return None,
    };
    let bare = outside(&query, '"', '"');
    let compact: String = outside(&bare, '{', '}').split_whitespace().collect();
    let numerator = numerator(&query);
    let any = |words: &[&str]| words.iter().any(|word| numerator.contains(word));
    let divides = numerator.len() < query.len();
    let percent = compact.contains("*100") || compact.contains("100*");
    let milliseconds = any(&["_milliseconds", "_ms_", "_millis"]);
    let times = any(&["duration", "latency", "_time_"]);
    let form = if compact.contains("histogram_quantile(") || (divides && times && any(&["_sum"])) {
        Form::Latency { milliseconds }
    } else if divides {
        let begin = compact.trim_start_matches(['(', ' ']);
        let inverse = begin.starts_with("1-") || begin.starts_with("100-") || begin.starts_with("100*(1-");
        match (any(&GOOD), any(&FAILED), inverse) {
            (true, _, false) => Form::SuccessRatio { percent },
            (true, _, true) => Form::ErrorRatio { percent },
            (false, true, false) => Form::ErrorRatio { percent },
            (false, true, true) => Form::SuccessRatio { percent },
            (false, false, _) => return None,
        }
    } else {
        let within = ["increase(", "sum_over_time(", "count_over_time("].iter().any(|word| compact.contains(word));
        match (within, compact.contains("rate("), any(&GOOD), any(&FAILED)) {
            (_, _, true, _) => return None,
            (true, _, false, true) => Form::Failures,
            (true, _, false, false) => Form::Requests,
            (false, true, false, true) => Form::FailureRate,
            (false, true, false, false) => Form::RequestRate,
            (false, false, false, _) => return None,
        }
    };
    Some(Asked { subject, form, range: range(&bare).unwrap_or(INSTANT) })
}

/// The text without what stands between these, so that labels do not count as operators.
fn outside(text: &str, open: char, close: char) -> String {
    let mut kept = String::new();
    let mut within = false;
    for character in text.chars() {
        if within {
            within = character != close;
        } else if character == open {
            within = true;
        } else {
            kept.push(character);
        }
    }
    kept
}

/// What stands before the first division that is none within labels; everything if there is none.
fn numerator(query: &str) -> &str {
    let (mut quoted, mut labels) = (false, false);
    for (at, character) in query.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '{' if !quoted => labels = true,
            '}' if !quoted => labels = false,
            '/' if !quoted && !labels => return &query[..at],
            _ => {}
        }
    }
    query
}

/// The first range, as `[1m]`; of a subquery the range before the colon.
fn range(query: &str) -> Option<Duration> {
    let (_, rest) = query.split_once('[')?;
    let (text, _) = rest.split_once(']')?;
    let text = text.split(':').next().unwrap_or_default().trim();
    let (mut total, mut number) = (Duration::ZERO, String::new());
    let mut units = text.chars().peekable();
    while let Some(character) = units.next() {
        if character.is_ascii_digit() {
            number.push(character);
            continue;
        }
        let count: u64 = std::mem::take(&mut number).parse().ok()?;
        let unit = match (character, units.peek()) {
            ('m', Some('s')) => {
                units.next();
                Duration::from_millis(1)
            }
            ('s', _) => Duration::from_secs(1),
            ('m', _) => Duration::from_secs(60),
            ('h', _) => Duration::from_secs(3600),
            ('d', _) => Duration::from_secs(86_400),
            ('w', _) => Duration::from_secs(7 * 86_400),
            (_, _) => return None,
        };
        total += unit * u32::try_from(count).ok()?;
    }
    (total > Duration::ZERO && number.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, subject: Subject, form: Form, seconds: u64) {
        let asked = classify(query).unwrap_or_else(|| panic!("{query} is not recognised"));
        assert_eq!(asked, Asked { subject, form, range: Duration::from_secs(seconds) }, "{query}");
    }

    const PODS: &str = r#"pod=~"{{ candidate.pods }}""#;

    #[test]
    fn ratios_latencies_and_counts_are_recognised() {
        let ratio = Form::ErrorRatio { percent: false };
        check(
            &format!(r#"(sum(rate(r{{{PODS},code=~"5.."}}[1m])) or vector(0)) / sum(rate(r{{{PODS}}}[1m]))"#),
            Subject::Candidate,
            ratio,
            60,
        );
        check(
            &format!(r#"100 * sum(rate(errors_total{{{PODS}}}[5m])) / sum(rate(r{{{PODS}}}[5m]))"#),
            Subject::Candidate,
            Form::ErrorRatio { percent: true },
            300,
        );
        check(
            &format!(r#"sum(rate(r{{{PODS},code!~"5.."}}[30s])) / sum(rate(r{{{PODS}}}[30s]))"#),
            Subject::Candidate,
            Form::SuccessRatio { percent: false },
            30,
        );
        check(
            r#"1 - sum(rate(r{code=~"5.."}[1m])) / sum(rate(r[1m]))"#,
            Subject::Everybody,
            Form::SuccessRatio { percent: false },
            60,
        );
        check(
            &format!("histogram_quantile(0.99, sum by (le) (rate(d_seconds_bucket{{{PODS}}}[2m])))"),
            Subject::Candidate,
            Form::Latency { milliseconds: false },
            120,
        );
        check("sum(increase(r[1h30m]))", Subject::Everybody, Form::Requests, 5400);
        check("sum(rate(r[1m]))", Subject::Everybody, Form::RequestRate, 60);
        check(r#"sum(increase(r{code=~"5.."}[1m]))"#, Subject::Everybody, Form::Failures, 60);
    }

    #[test]
    fn what_is_not_recognised_is_not_guessed() {
        for query in [
            "queue_depth",
            r#"a{pod=~"{{ candidate.pods }}"} / a{pod=~"{{ stable.pods }}"}"#,
            "sum(orders_total[1m]) / sum(carts_total[1m])",
            "",
        ] {
            assert_eq!(classify(query), None, "{query}");
        }
    }
}
