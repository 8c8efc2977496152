//! What pods of an image do, by its tag: the words of the demo application of the local cluster.

use std::time::Duration;

/// How pods of a version behave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    /// Part of the requests that fail, in percent.
    pub errors: f64,
    /// Time of an answer.
    pub latency: Duration,
    /// From its start until it is ready; none: never.
    pub ready_after: Option<Duration>,
    /// From its start until it crashes, again and again; none: never.
    pub crashes_after: Option<Duration>,
}

impl Behaviour {
    /// Reads an image, as `registry.example.com/web:3.0.0-errors10-slowstart5s`.
    pub fn of(image: &str) -> Self {
        let mut behaviour = Self {
            errors: 0.0,
            latency: Duration::from_millis(10),
            ready_after: Some(Duration::from_secs(1)),
            crashes_after: None,
        };
        let tag = image.rsplit('/').next().and_then(|last| last.split_once(':')).map_or("", |(_, tag)| tag);
        for word in tag.split('-').skip(1) {
            if let Some(errors) = word.strip_prefix("errors") {
                behaviour.errors = errors.parse().unwrap_or_default();
            } else if let Some(latency) = word.strip_prefix("latency") {
                behaviour.latency = time(latency).unwrap_or(behaviour.latency);
            } else if let Some(after) = word.strip_prefix("slowstart") {
                behaviour.ready_after = time(after).or(behaviour.ready_after);
            } else if let Some(after) = word.strip_prefix("crashafter") {
                behaviour.crashes_after = time(after);
            } else if word == "crash" {
                behaviour.crashes_after = Some(Duration::ZERO);
            } else if word == "neverready" {
                behaviour.ready_after = None;
            }
        }
        behaviour
    }
}

fn time(text: &str) -> Option<Duration> {
    if let Some(number) = text.strip_suffix("ms") {
        return number.parse().ok().map(Duration::from_millis);
    }
    text.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_how_pods_behave() {
        let bad = Behaviour::of("registry.example.com:5000/web:3.0.0-errors2.5-latency200ms-slowstart5s-crashafter10s");
        assert_eq!(bad.errors, 2.5);
        assert_eq!((bad.latency, bad.ready_after), (Duration::from_millis(200), Some(Duration::from_secs(5))));
        assert_eq!(bad.crashes_after, Some(Duration::from_secs(10)));
        assert_eq!(Behaviour::of("web:1-neverready").ready_after, None);
        assert_eq!(Behaviour::of("web").errors, 0.0);
    }
}
