//! Queries of policies, tried when nobody needs their answers yet.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use lockkeeper_engine::analysis::{self, PolicyPlan};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::judge::{self, Published, Subject};
use crate::{
    cache::{Key, Resource},
    context::Context,
    measure::{Answer, Trouble},
};

/// What makes a trial worth repeating when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Occasion {
    /// The policy's generation.
    generation: Option<i64>,
    /// Whether there are pods that a query can be about.
    with_pods: bool,
}

/// What decides whether it is time to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// The policy's generation.
    pub generation: Option<i64>,
    /// What the status tells of this policy, as it is now.
    pub published: Option<Published>,
    /// When a release last got no answer.
    pub failed: Option<Timestamp>,
}

/// Answers by `<policy>/<check>`.
pub type Answers = BTreeMap<String, Answer>;

impl Times {
    /// Whether what is published can be trusted, and is no older than what this process was answered, if it has asked.
    fn settled(&self, asked: Option<Timestamp>) -> bool {
        self.published.is_some_and(|published| {
            published.ready && self.failed <= Some(published.measured) && self.published_since(asked)
        })
    }

    /// Whether what is published is no older than this, in whole seconds: a status has no finer ones.
    fn published_since(&self, asked: Option<Timestamp>) -> bool {
        self.published.is_some_and(|published| second(asked) <= second(Some(published.measured)))
    }

    /// Whether what is published is newer than this.
    fn published_after(&self, asked: Option<Timestamp>) -> bool {
        self.published.is_some_and(|published| second(asked) < second(Some(published.measured)))
    }

    /// What follows from answers that this process has got. Another one, which also believes to lead, may have been answered differently;
    /// they must not tell their own story in turns. So an older answer never replaces a newer one, a status that can be trusted is
    /// followed, and who knows of nothing wrong asks again when another does.
    fn next(&self, answers: &Answers, trusted: bool, again: Option<Instant>) -> Next {
        let asked = asked(answers);
        let due = match again {
            Some(again) => again <= Instant::now(),
            None => self.failed > asked || (trusted && self.published_after(asked)),
        };
        match (due, !trusted && self.published_since(asked)) {
            _ if self.settled(asked) => Next::Follow,
            (true, _) => Next::Ask,
            (false, true) => Next::Wait,
            (false, false) => Next::Tell,
        }
    }
}

/// What follows from answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// They are told.
    Tell,
    /// What is published holds, and they are forgotten.
    Follow,
    /// What is published holds, until it is time to ask again.
    Wait,
    /// It is time to ask again.
    Ask,
}

/// What is known of a policy's queries.
#[derive(Clone, Debug, PartialEq)]
pub enum Tried {
    /// They are being asked.
    UnderWay,
    /// What is published holds.
    Before {
        /// When the queries are to be asked again; none if that is not worth it.
        again: Option<Instant>,
    },
    /// They were asked by this process.
    Now {
        /// What came of it.
        answers: Answers,
        /// What they were about.
        about: Option<Subject>,
        /// When they are to be asked again; none if that is not worth it.
        again: Option<Instant>,
    },
}

/// Trials by policy.
#[derive(Debug, Default)]
pub struct Trials(Mutex<BTreeMap<Key, Trial>>);

#[derive(Debug)]
struct Trial {
    occasion: Occasion,
    about: Option<Subject>,
    state: State,
}

#[derive(Debug)]
enum State {
    UnderWay,
    Answered {
        answers: Answers,
        /// When it is worth asking again; none if it is not.
        again: Option<Instant>,
    },
}

impl Trials {
    /// What is known; if that is nothing, or it is time to ask again, the queries are asked, and the policy is looked at again
    /// when the answers are there. Whether what has kept a release from an answer has passed, we find out ourselves.
    pub fn look(
        &self,
        context: &Arc<Context>,
        policy: &Key,
        plan: &PolicyPlan,
        subject: Option<&Subject>,
        times: Times,
    ) -> Tried {
        let occasion = Occasion { generation: times.generation, with_pods: subject.is_some() };
        let mut trials = self.0.lock();
        match trials.get(policy).filter(|trial| trial.occasion == occasion) {
            None if times.settled(None) => return Tried::Before { again: None },
            None => {}
            Some(Trial { state: State::UnderWay, .. }) => return Tried::UnderWay,
            Some(Trial { state: State::Answered { answers, again }, about, .. }) => {
                let (_, verdict) = judge::judge(plan, answers, about.as_ref(), &BTreeMap::new());
                match times.next(answers, verdict.ready, *again) {
                    Next::Tell => {
                        return Tried::Now { answers: answers.clone(), about: about.clone(), again: *again };
                    }
                    Next::Wait => return Tried::Before { again: *again },
                    Next::Follow => {
                        trials.remove(policy);
                        return Tried::Before { again: None };
                    }
                    Next::Ask => {}
                }
            }
        }
        trials.insert(
            policy.clone(),
            Trial { occasion: occasion.clone(), about: subject.cloned(), state: State::UnderWay },
        );
        drop(trials);
        let facts = Subject::facts(subject, &policy.namespace);
        // All are due when they have never been measured and count since long ago.
        let (requests, _) = analysis::due(plan, &[], &facts, Timestamp::UNIX_EPOCH, context.clock.now());
        let (context, policy) = (context.clone(), policy.clone());
        tokio::spawn(async move {
            let asked = requests.into_iter().map(|request| {
                let context = &context;
                async move {
                    let answer = context.measures.measure(context, &request).await;
                    (request.check, answer)
                }
            });
            let answers = futures::future::join_all(asked).await.into_iter().collect();
            context.trials.answered(&context, &policy, &occasion, answers);
        });
        Tried::UnderWay
    }

    fn answered(&self, context: &Context, policy: &Key, occasion: &Occasion, answers: Answers) {
        let object = (Resource::RollbackPolicy, policy.clone());
        let again = if passes(&answers) {
            Some(Instant::now() + context.backoff.failed(&object))
        } else {
            context.backoff.reset(&object);
            None
        };
        // Something else may have been asked, or all forgotten, since.
        if let Some(trial) = self.0.lock().get_mut(policy).filter(|trial| trial.occasion == *occasion) {
            trial.state = State::Answered { answers, again };
        }
        context.policies.add(policy.clone());
    }

    /// Forgets a policy.
    pub fn forget(&self, policy: &Key) {
        self.0.lock().remove(policy);
    }

    /// Forgets all: another process has acted since.
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

/// The second of a time: a status has no finer ones.
fn second(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_second)
}

/// When the last of these was asked.
fn asked(answers: &Answers) -> Option<Timestamp> {
    answers.values().map(|answer| answer.measurement.taken).max()
}

/// Whether a query got no answer for a reason that may pass.
fn passes(answers: &Answers) -> bool {
    answers.values().any(|answer| answer.trouble == Some(Trouble::Passing))
}
