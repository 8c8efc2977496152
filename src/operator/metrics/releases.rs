//! Series that belong to releases. They are written from the latest sample of each when Prometheus asks, so that a value that has
//! passed, or a release that is gone, cannot stay behind.

use std::{collections::BTreeMap, fmt, sync::Arc};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

/// What there is to say of one release now. Words are those of its status.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseSample {
    /// Namespace of the Release.
    pub namespace: String,
    /// Name of the Release.
    pub name: String,
    /// The version that is being released, or that is stable.
    pub version: String,
    /// Phase.
    pub phase: &'static str,
    /// The step that is running, from 1; 0 outside the steps.
    pub step: u32,
    /// How many steps there are.
    pub steps: u32,
    /// The share of traffic that the candidate should have, 0 to 1.
    pub weight_desired: f64,
    /// The share that the data plane has confirmed, 0 to 1.
    pub weight_confirmed: f64,
    /// All gates that are asked.
    pub gates: Vec<GateSample>,
    /// All checks that are armed.
    pub checks: Vec<CheckSample>,
}

/// A gate of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct GateSample {
    /// Name of the gate; unique within the release.
    pub name: String,
    /// Kind of the gate.
    pub kind: &'static str,
    /// State.
    pub state: &'static str,
}

/// A check of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckSample {
    /// Name of the check; unique within the release.
    pub name: String,
    /// Outcome of the last measurement.
    pub outcome: &'static str,
    /// Last value measured; `None` when there was none.
    pub value: Option<f64>,
}

#[derive(Debug, Default)]
pub(super) struct Releases(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By namespace and name.
    samples: BTreeMap<(String, String), Arc<ReleaseSample>>,
    /// By namespace and outcome.
    finished: Counts,
    /// By namespace and cause.
    rollbacks: Counts,
}

type Counts = BTreeMap<(String, &'static str), u64>;

/// The outcomes that are 0 from a namespace's first release on: a counter that begins with 1 hides its first event from `increase`.
const OUTCOMES: [&str; 5] = ["Succeeded", "RolledBack", "Superseded", "Aborted", "Rejected"];

/// The causes of a rollback, which are 0 at first for the same reason.
const CAUSES: [&str; 12] = [
    "CheckFailed",
    "Inconclusive",
    "CrashLoop",
    "Unavailable",
    "ProgressDeadlineExceeded",
    "WindowClosed",
    "Aborted",
    "RollbackRequested",
    "ReturnedToEarlierVersion",
    "Withdrawn",
    "Superseded",
    "Deleted",
];

impl Releases {
    pub(super) fn put(&self, sample: ReleaseSample) {
        let mut state = self.0.lock();
        let place = (sample.namespace.clone(), sample.name.clone());
        if state.samples.get(&place).is_some_and(|known| **known == sample) {
            return;
        }
        for outcome in OUTCOMES {
            state.finished.entry((sample.namespace.clone(), outcome)).or_default();
        }
        for cause in CAUSES {
            state.rollbacks.entry((sample.namespace.clone(), cause)).or_default();
        }
        state.samples.insert(place, Arc::new(sample));
    }

    pub(super) fn remove(&self, namespace: &str, name: &str) {
        let mut state = self.0.lock();
        state.samples.remove(&(namespace.into(), name.into()));
        let from = (namespace.to_owned(), String::new());
        if state.samples.range(from..).next().is_none_or(|((next, _), _)| next != namespace) {
            state.finished.retain(|(of, _), _| of != namespace);
            state.rollbacks.retain(|(of, _), _| of != namespace);
        }
    }

    pub(super) fn count_finished(&self, namespace: &str, outcome: &'static str) {
        *self.0.lock().finished.entry((namespace.into(), outcome)).or_default() += 1;
    }

    pub(super) fn count_rollback(&self, namespace: &str, cause: &'static str) {
        *self.0.lock().rollbacks.entry((namespace.into(), cause)).or_default() += 1;
    }
}

impl Collector for Releases {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Whoever publishes a release must not wait until a long page is written.
        let (samples, finished, rollbacks) = {
            let state = self.0.lock();
            let samples: Vec<_> = state.samples.values().cloned().collect();
            (samples, state.finished.clone(), state.rollbacks.clone())
        };
        let mut family = Families { encoder: &mut encoder, samples: &samples };

        family.each("release_phase", "The phase that each release is in; always 1", None, |release, write| {
            write(&[("phase", release.phase)], 1.0)
        })?;
        family.each("release_info", "The version that each release is about; always 1", None, |release, write| {
            write(&[("version", &release.version)], 1.0)
        })?;
        family.each(
            "release_step",
            "The step that is running, from 1; 0 outside the steps",
            None,
            |release, write| write(&[], f64::from(release.step)),
        )?;
        family.each("release_steps", "How many steps the release has", None, |release, write| {
            write(&[], f64::from(release.steps))
        })?;
        let help = "The share of traffic that the candidate should have";
        family
            .each("release_weight_desired", help, Some(ratio()), |release, write| write(&[], release.weight_desired))?;
        let help = "The share of traffic of the candidate that the data plane has confirmed";
        family.each("release_weight_confirmed", help, Some(ratio()), |release, write| {
            write(&[], release.weight_confirmed)
        })?;
        family.each(
            "gate_state",
            "The state that each gate of a release is in; always 1",
            None,
            |release, write| {
                release.gates.iter().try_for_each(|gate| {
                    write(&[("gate", &gate.name), ("kind", gate.kind), ("state", gate.state)], 1.0)
                })
            },
        )?;
        let help = "The outcome of the last measurement of each check; always 1";
        family.each("check_outcome", help, None, |release, write| {
            release
                .checks
                .iter()
                .try_for_each(|check| write(&[("check", &check.name), ("outcome", check.outcome)], 1.0))
        })?;
        family.each("check_value", "The last value that each check has measured", None, |release, write| {
            release.checks.iter().try_for_each(|check| match check.value {
                Some(value) => write(&[("check", &check.name)], value),
                None => Ok(()),
            })
        })?;

        counts(&mut encoder, "releases_finished", "Releases that have ended, by outcome", "outcome", &finished)?;
        counts(&mut encoder, "rollbacks", "Releases that went back, by cause", "cause", &rollbacks)
    }
}

fn ratio() -> Unit {
    Unit::Other("ratio".into())
}

type Labels<'a> = [(&'a str, &'a str)];

struct Families<'a, 'e> {
    encoder: &'a mut DescriptorEncoder<'e>,
    samples: &'a [Arc<ReleaseSample>],
}

impl Families<'_, '_> {
    /// One family of gauges: `values` writes those of one release, with the labels that come after its namespace and name.
    fn each(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        values: impl Fn(&ReleaseSample, &mut dyn FnMut(&Labels<'_>, f64) -> fmt::Result) -> fmt::Result,
    ) -> fmt::Result {
        let help = format!("{help}.");
        let mut family = self.encoder.encode_descriptor(name, &help, unit.as_ref(), MetricType::Gauge)?;
        for release in self.samples {
            values(release, &mut |labels, value| gauge(&mut family, release, labels, value))?;
        }
        Ok(())
    }
}

fn gauge(family: &mut MetricEncoder<'_>, release: &ReleaseSample, labels: &Labels<'_>, value: f64) -> fmt::Result {
    let mut all = vec![("namespace", release.namespace.as_str()), ("release", &release.name)];
    all.extend_from_slice(labels);
    family.encode_family(&all)?.encode_gauge(&value)
}

fn counts(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, label: &str, counts: &Counts) -> fmt::Result {
    let help = format!("{help}.");
    let mut family = encoder.encode_descriptor(name, &help, None, MetricType::Counter)?;
    for ((namespace, word), count) in counts {
        let labels = [("namespace", namespace.as_str()), (label, word)];
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(count, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::metrics::Metrics;

    fn sample(namespace: &str, name: &str) -> ReleaseSample {
        ReleaseSample {
            namespace: namespace.into(),
            name: name.into(),
            version: "2.4.0".into(),
            phase: "Progressing",
            step: 3,
            steps: 6,
            weight_desired: 0.5,
            weight_confirmed: 0.05,
            gates: vec![GateSample { name: "change-board".into(), kind: "Approval", state: "Closed" }],
            checks: vec![
                CheckSample { name: "error-rate".into(), outcome: "Success", value: Some(0.002) },
                CheckSample { name: "latency".into(), outcome: "Error", value: None },
            ],
        }
    }

    fn lines(metrics: &Metrics) -> Vec<String> {
        let page = metrics.encode().unwrap();
        page.lines()
            .filter(|line| line.contains("namespace="))
            .map(|line| line.replacen("lockkeeper_", "", 1))
            .collect()
    }

    #[test]
    fn a_release_is_told_in_full() {
        let metrics = Metrics::new();
        metrics.release(sample("shop", "checkout"));
        metrics.finished("shop", "Succeeded");
        metrics.rolled_back("shop", "CheckFailed");
        let expected = [
            r#"release_phase{namespace="shop",release="checkout",phase="Progressing"} 1.0"#,
            r#"release_info{namespace="shop",release="checkout",version="2.4.0"} 1.0"#,
            r#"release_step{namespace="shop",release="checkout"} 3.0"#,
            r#"release_steps{namespace="shop",release="checkout"} 6.0"#,
            r#"release_weight_desired_ratio{namespace="shop",release="checkout"} 0.5"#,
            r#"release_weight_confirmed_ratio{namespace="shop",release="checkout"} 0.05"#,
            r#"gate_state{namespace="shop",release="checkout",gate="change-board",kind="Approval",state="Closed"} 1.0"#,
            r#"check_outcome{namespace="shop",release="checkout",check="error-rate",outcome="Success"} 1.0"#,
            r#"check_outcome{namespace="shop",release="checkout",check="latency",outcome="Error"} 1.0"#,
            r#"check_value{namespace="shop",release="checkout",check="error-rate"} 0.002"#,
            r#"releases_finished_total{namespace="shop",outcome="Aborted"} 0"#,
            r#"releases_finished_total{namespace="shop",outcome="Rejected"} 0"#,
            r#"releases_finished_total{namespace="shop",outcome="RolledBack"} 0"#,
            r#"releases_finished_total{namespace="shop",outcome="Succeeded"} 1"#,
            r#"releases_finished_total{namespace="shop",outcome="Superseded"} 0"#,
        ];
        let (causes, others): (Vec<_>, _) =
            lines(&metrics).into_iter().partition(|line| line.starts_with("rollbacks_total"));
        assert_eq!(others, expected);
        let expected = CAUSES.map(|cause| {
            let count = u8::from(cause == "CheckFailed");
            format!(r#"rollbacks_total{{namespace="shop",cause="{cause}"}} {count}"#)
        });
        assert_eq!(BTreeSet::from_iter(causes), BTreeSet::from(expected));
    }

    #[test]
    fn every_cause_of_the_status_is_counted_from_0_on() {
        let release = lockkeeper_api::crds().into_iter().find(|crd| crd.spec.names.kind == "Release").unwrap();
        let schema = serde_json::to_value(&release.spec.versions[0].schema).unwrap();
        let words =
            &schema["openAPIV3Schema"]["properties"]["status"]["properties"]["goingBack"]["properties"]["cause"];
        let words: BTreeSet<_> = words["enum"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        assert_eq!(words, BTreeSet::from(CAUSES));
    }

    #[test]
    fn a_release_has_one_phase_series_whatever_it_was_before() {
        let metrics = Metrics::new();
        for phase in ["Waiting", "Progressing", "Stable"] {
            metrics.release(ReleaseSample { phase, ..sample("shop", "checkout") });
        }
        let phases: Vec<String> =
            lines(&metrics).into_iter().filter(|line| line.starts_with("release_phase")).collect();
        assert_eq!(phases, [r#"release_phase{namespace="shop",release="checkout",phase="Stable"} 1.0"#]);
    }

    #[test]
    fn nothing_stays_behind_of_a_release_that_is_gone() {
        let metrics = Metrics::new();
        for name in ["cart", "checkout"] {
            metrics.release(sample("shop", name));
        }
        metrics.release(sample("shopping", "list"));
        metrics.rolled_back("shop", "CheckFailed");

        metrics.forget("shop", "cart");
        assert!(lines(&metrics).iter().all(|line| !line.contains("cart")));
        assert!(lines(&metrics).contains(&r#"rollbacks_total{namespace="shop",cause="CheckFailed"} 1"#.into()));

        metrics.forget("shop", "checkout");
        assert!(lines(&metrics).iter().all(|line| line.contains(r#"namespace="shopping""#)), "{:#?}", lines(&metrics));
        metrics.forget("shopping", "list");
        assert_eq!(lines(&metrics), [""; 0]);
    }

    #[test]
    fn a_version_with_odd_characters_cannot_break_the_page() {
        let metrics = Metrics::new();
        metrics.release(ReleaseSample { version: "1\"\n\\".into(), ..sample("shop", "checkout") });
        let page = metrics.encode().unwrap();
        assert!(page.contains(r#"version="1\"\n\\"} 1.0"#), "{page}");
    }
}
