//! How a pod answers, as its image's tag says.

use std::time::Duration;

const HUNDRED_PERCENT: u64 = 10_000;

/// How the pods of a version answer. What concerns readiness and crashes is played by kwok, see `manifests/stages.yaml`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// Share of requests answered with 500, in hundredths of a percent.
    pub errors: u16,
    /// Wait before each answer.
    pub latency: Duration,
}

impl Behaviour {
    /// Reads `-errors10` (per cent, also `-errors2.5`) and `-latency200ms` anywhere in an image's tag.
    ///
    /// Other parts of the tag are just its name.
    pub(super) fn of_tag(tag: &str) -> Behaviour {
        tag.split('-').fold(Behaviour::default(), |behaviour, part| {
            if let Some(percent) = part.strip_prefix("errors").and_then(hundredths) {
                Behaviour { errors: percent, ..behaviour }
            } else if let Some(latency) = part.strip_prefix("latency").and_then(milliseconds) {
                Behaviour { latency, ..behaviour }
            } else {
                behaviour
            }
        })
    }

    /// Whether the request with this number (from 0) gets an error: evenly spread, and exact in the long run.
    pub(super) fn fails(self, number: u64) -> bool {
        let share = u64::from(self.errors);
        (number + 1) * share / HUNDRED_PERCENT > number * share / HUNDRED_PERCENT
    }
}

fn hundredths(percent: &str) -> Option<u16> {
    let (whole, part) = percent.split_once('.').unwrap_or((percent, "0"));
    let part = format!("{part:0<2}");
    let hundredths = whole.parse::<u16>().ok()?.checked_mul(100)?.checked_add(part.parse().ok()?)?;
    (part.len() == 2 && u64::from(hundredths) <= HUNDRED_PERCENT).then_some(hundredths)
}

fn milliseconds(text: &str) -> Option<Duration> {
    text.strip_suffix("ms")?.parse().ok().map(Duration::from_millis)
}

/// The tag of an image: what follows the last colon, unless that is a registry's port.
pub(super) fn tag(image: &str) -> &str {
    match image.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => tag,
        Some(_) | None => "latest",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_how_its_pods_behave() {
        let behaviour = |errors, ms| Behaviour { errors, latency: Duration::from_millis(ms) };
        for (tag, expected) in [
            ("3.0.0", behaviour(0, 0)),
            ("3.0.0-rc1", behaviour(0, 0)),
            ("3.0.0-errors10", behaviour(1_000, 0)),
            ("3.0.0-errors2.5-latency200ms", behaviour(250, 200)),
            ("3.0.0-errors0.25", behaviour(25, 0)),
            ("3.0.0-errors100", behaviour(10_000, 0)),
            ("3.0.0-errors101", behaviour(0, 0)),
            ("3.0.0-latency5s", behaviour(0, 0)),
        ] {
            assert_eq!(Behaviour::of_tag(tag), expected, "{tag}");
        }
    }

    #[test]
    fn errors_are_exactly_their_share() {
        for percent in [0, 1, 10, 33, 50, 100] {
            let behaviour = Behaviour { errors: percent * 100, latency: Duration::ZERO };
            let failed = (0..1_000).filter(|number| behaviour.fails(*number)).count();
            assert_eq!(failed, usize::from(percent) * 10, "{percent} %");
        }
    }

    #[test]
    fn the_tag_follows_the_last_colon() {
        for (image, expected) in [
            ("demo:1.0.0", "1.0.0"),
            ("registry.example.com:5000/demo:1.0.0", "1.0.0"),
            ("registry.example.com:5000/demo", "latest"),
            ("demo", "latest"),
        ] {
            assert_eq!(tag(image), expected, "{image}");
        }
    }
}
