//! A metrics source that answers checks from the account of traffic, or from what the scenario or a recording says.
//!
//! Queries of the user's are not sent: each is replaced by a number that says which check asks, together with the placeholders that say whose
//! pods it is about. The engine has found the user's own text sound before.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use lockkeeper_adapters::{
    error::{Error, Fault},
    metric::{Measurement, MetricSource, NoData, Pending, Sample},
};
use lockkeeper_api::RollbackPolicySpec;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    Recording,
    form::{Asked, Form, Subject, classify},
    ledger::{Count, Flow, Ledger},
};
use crate::api::{
    Kind, Shared,
    object::{list, name},
};

/// How long an answer takes.
const ANSWERS_AFTER: Duration = Duration::from_millis(20);

/// Where the answer to a check comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// From recorded metrics.
    Recorded,
    /// From the scenario, whatever happens.
    Given(f64),
    /// From the account, by what the query looks like.
    Computed(Asked),
    /// Nobody knows.
    Unknown,
}

/// A query that can be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// `<policy>/<check>`.
    pub check: String,
    /// Whether it asks for the number of samples.
    pub samples: bool,
    /// Where its answer comes from.
    pub answer: Answer,
}

/// All questions, by number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Questions(Vec<Question>);

impl Questions {
    /// Replaces the queries of a policy by numbers.
    pub fn replace(&mut self, policy: &str, spec: &mut RollbackPolicySpec, known: impl Fn(&str) -> Option<Answer>) {
        for check in &mut spec.checks {
            let name = format!("{policy}/{}", check.name);
            let computed = |query: &str| classify(query).map_or(Answer::Unknown, Answer::Computed);
            let answer = known(&name).unwrap_or_else(|| computed(&check.query));
            check.query = self.ask(Question { check: name.clone(), samples: false, answer });
            if let Some(minimum) = &mut check.minimum_samples {
                let answer = known(&format!("{name}:samples")).unwrap_or_else(|| computed(&minimum.query));
                minimum.query = self.ask(Question { check: name, samples: true, answer });
            }
        }
    }

    fn ask(&mut self, question: Question) -> String {
        self.0.push(question);
        format!("rehearsal {} {{{{ candidate.pods }}}}", self.0.len() - 1)
    }

    fn find(&self, query: &str) -> Option<&Question> {
        let number = query.strip_prefix("rehearsal ")?.split(' ').next()?;
        self.0.get(number.parse::<usize>().ok()?)
    }

    /// All of them.
    pub fn all(&self) -> &[Question] {
        &self.0
    }
}

/// What is wrong with the source at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Nothing.
    #[default]
    Well,
    /// It answers without data.
    Silent,
    /// It refuses connections.
    Down,
}

/// What several look at.
#[derive(Debug)]
pub struct State {
    /// Who got how many requests.
    pub ledger: Ledger,
    /// What is wrong with the source.
    pub health: Health,
    /// What was measured, by check.
    pub measured: BTreeMap<String, Vec<Measured>>,
}

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// When.
    pub at: Timestamp,
    /// The value; none where there was none.
    pub value: Option<f64>,
}

/// The source.
pub struct Source {
    /// The cluster.
    pub shared: Shared,
    /// What is asked.
    pub questions: Questions,
    /// Recorded metrics.
    pub recording: Recording,
    /// Images of the new version.
    pub images: Vec<String>,
    /// The account.
    pub state: Arc<Mutex<State>>,
}

impl Source {
    fn answer(&self, query: &str) -> Result<Sample, Error> {
        let now = self.shared.clock().now();
        let Some(question) = self.questions.find(query) else { return Ok(EMPTY) };
        let new = self.is_about_new(query);
        let mut state = self.state.lock();
        let sample = match state.health {
            Health::Down => return Err(Error::named("the metric source of the scenario", Fault::ConnectionFailed)),
            Health::Silent => EMPTY,
            Health::Well => match &question.answer {
                Answer::Unknown => EMPTY,
                Answer::Recorded | Answer::Given(_) if !new => EMPTY,
                Answer::Given(value) => Sample::from(*value),
                Answer::Recorded => {
                    let first = state.ledger.first().map(|first| now.duration_since(first).as_secs_f64());
                    let name =
                        if question.samples { format!("{}:samples", question.check) } else { question.check.clone() };
                    first.and_then(|after| self.recording.at(&name, after)).map_or(EMPTY, Sample::from)
                }
                Answer::Computed(asked) => compute(asked, &state.ledger, new, now),
            },
        };
        if new && !question.samples {
            let value = match sample {
                Sample::Value(value) => Some(value),
                Sample::NoData { .. } => None,
            };
            state.measured.entry(question.check.clone()).or_default().push(Measured { at: now, value });
        }
        Ok(sample)
    }

    /// Whether the pods that the query is about are the new version's.
    fn is_about_new(&self, query: &str) -> bool {
        let server = self.shared.lock();
        let mut sets = server.store().objects().of(Kind::ReplicaSet);
        sets.any(|set| query.contains(name(set)) && is_new(&set["spec"]["template"]["spec"], &self.images))
    }
}

/// Whether pods of this spec are the new version's.
pub fn is_new(spec: &Value, images: &[String]) -> bool {
    list(&spec["containers"]).iter().any(|container| images.iter().any(|image| container["image"] == image.as_str()))
}

impl MetricSource for Source {
    fn measure<'a>(&'a self, query: &'a str) -> Pending<'a, Measurement> {
        async move {
            sleep(ANSWERS_AFTER).await;
            self.answer(query).map(|sample| Measurement { sample, warnings: 0 })
        }
        .boxed()
    }

    fn probe(&self) -> Pending<'_, ()> {
        async { Ok(()) }.boxed()
    }
}

const EMPTY: Sample = Sample::NoData { reason: NoData::Empty };

/// What the account says.
fn compute(asked: &Asked, ledger: &Ledger, new: bool, now: Timestamp) -> Sample {
    let range = SignedDuration::try_from(asked.range).unwrap_or(SignedDuration::MAX);
    let from = now.checked_sub(range).unwrap_or(Timestamp::MIN);
    let Flow { new: of_new, stable } = ledger.between(from, now);
    let both = Count { requests: of_new.requests + stable.requests, failed: of_new.failed + stable.failed };
    // Asked about a version that is the stable one by now, or still: everybody is.
    let count = match (asked.subject, new) {
        (Subject::Candidate, true) => of_new,
        (Subject::Candidate, false) | (Subject::Stable, _) => stable,
        (Subject::Everybody, _) => both,
    };
    let scale = |value: f64, percent: bool| Sample::from(if percent { 100.0 * value } else { value });
    let seconds = asked.range.as_secs_f64();
    match asked.form {
        Form::ErrorRatio { percent } => scale(count.failed / count.requests, percent),
        Form::SuccessRatio { percent } => scale(1.0 - count.failed / count.requests, percent),
        Form::Latency { .. } if count.requests == 0.0 => Sample::NoData { reason: NoData::NotANumber },
        Form::Latency { milliseconds } => {
            let slow = match (asked.subject, new) {
                (Subject::Candidate, true) => ledger.conduct(now).latency_seconds,
                // The slowest percent of all is the new version's once it gets as much.
                (Subject::Everybody, _) if of_new.requests >= 0.01 * both.requests => {
                    ledger.conduct(now).latency_seconds.max(ledger.stable_conduct().latency_seconds)
                }
                (Subject::Candidate | Subject::Everybody | Subject::Stable, _) => {
                    ledger.stable_conduct().latency_seconds
                }
            };
            Sample::from(if milliseconds { 1000.0 * slow } else { slow })
        }
        Form::Requests => Sample::from(count.requests),
        Form::RequestRate => Sample::from(count.requests / seconds),
        Form::Failures => Sample::from(count.failed),
        Form::FailureRate => Sample::from(count.failed / seconds),
    }
}
