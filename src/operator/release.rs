//! The loop of one Release: observe, plan, decide, publish, act. Publish comes before act, so that what cannot be undone is
//! intended in public first.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use lockkeeper_api::{
    Release, ReleaseStatus,
    release::{GoingBackCause, Phase},
};
use lockkeeper_engine::{
    Event, Outcome, decide,
    plan::Plan,
    write::{Kind, Write},
};
use tokio::time::Instant;
use tracing::{Instrument, Span, debug, info, info_span, warn};

use crate::{
    act::{self, Actor, Done, Refusal},
    cache::{Key, Resource},
    context::Context,
    observe, publish, sample,
    throttle::Delayed,
};

const NAME: &str = "release";

/// After so many refusals in a row, because an object is not as it was seen, its watch is not waited for any more.
const UNHEARD: u32 = 5;

/// A decision that is older is made again before it is carried out: windows close meanwhile, people decide, numbers come.
const FRESH: Duration = Duration::from_secs(1);

/// Looks at a Release once. What it finds to do next, it puts into the queue.
pub async fn reconcile(context: Arc<Context>, key: Key) {
    if !context.leadership.is_leader() {
        return;
    }
    let Some(release) = observe::release(&context, &key) else {
        return forget(&context, &key);
    };
    let span = info_span!("reconcile", release = %key, revision = tracing::field::Empty);
    let started = std::time::Instant::now();
    let result = look(&context, &key, &release).instrument(span).await;
    context.metrics.reconciled(
        NAME,
        started.elapsed(),
        result.as_ref().map(|_| ()).map_err(|failure| failure.1.category()),
    );
    match result {
        Ok(()) => context.backoff.reset(&(Resource::Release, key)),
        Err((_, Refusal::NotLeading)) => {}
        Err((purpose, Refusal::Throttled(delayed))) => throttled(&context, &key, &release, &purpose, delayed),
        // Nothing is wrong; it is decided anew.
        Err((_, Refusal::Overtaken)) => context.releases.add(key),
        Err((_, Refusal::Stale { resource, key: missed })) => {
            // The newer state wakes us by itself; this is for the case that it never comes.
            later(&context, &key);
            if context.backoff.failures(&(Resource::Release, key)) >= UNHEARD {
                // What it does not say now is asked for again.
                let _ = act::look_again(&context, resource, &missed).await;
            }
        }
        Err((purpose, refusal @ Refusal::Refused { .. })) => {
            let error: &dyn std::error::Error = &refusal;
            warn!(release = %key, purpose, reason = %refusal, error = ?error.source().map(ToString::to_string), "failed to write");
            let note = format!("failed to {purpose}: {refusal}; it is tried again");
            let event = Event { reason: "WriteFailed".into(), warning: true, note };
            context.events.send(reference(&release), event);
            later(&context, &key);
        }
    }
}

/// It goes on when it may; people hear of it once, because something is wrong: with us, or with somebody who undoes what we do.
fn throttled(context: &Context, key: &Key, release: &Release, purpose: &str, delayed: Delayed) {
    context.releases.add_at(key.clone(), delayed.until);
    if delayed.first {
        warn!(release = %key, purpose, "the same object is written again and again: from now on once a second");
        let note =
            format!("{purpose}: the same object was written too often, and is written once a second from now on");
        context.events.send(reference(release), Event { reason: "WritesThrottled".into(), warning: true, note });
    }
}

fn later(context: &Context, key: &Key) {
    let delay: Duration = context.backoff.failed(&(Resource::Release, key.clone()));
    context.releases.add_at(key.clone(), Instant::now() + delay);
}

/// A Release that is gone, or another operator's by now, leaves nothing behind in this process.
fn forget(context: &Arc<Context>, key: &Key) {
    context.pods.watch(context, key, &[]);
    context.measures.only(key, None);
    context.throttle.forget(Resource::Release, key);
    context.memory.forget(key);
    context.proofs.forget(key);
    context.backoff.reset(&(Resource::Release, key.clone()));
    context.metrics.forget(&key.namespace, &key.name);
}

type Failure = (String, Refusal);

/// Decides, from what is known now.
fn consider(context: &Context, key: &Key, release: &Release, jumped: SignedDuration) -> (Plan, ReleaseStatus, Outcome) {
    let now = context.clock.now();
    let status = context.memory.status(key, release, now, jumped);
    let plan = observe::plan(context, key, release);
    let world = observe::world(context, key, &plan, status.phase);
    let outcome = decide(&plan, &world, &status, now);
    (plan, status, outcome)
}

/// Whether what was `decided` at that time would be decided again.
fn still(context: &Context, key: &Key, decided: Instant, write: &Write) -> bool {
    if decided.elapsed() < FRESH {
        return true;
    }
    let Some(release) = observe::release(context, key) else { return false };
    let (_, _, now) = consider(context, key, &release, context.jumped());
    now.writes
        .iter()
        .any(|other| (other.kind, &other.name, &other.request) == (write.kind, &write.name, &write.request))
}

async fn look(context: &Arc<Context>, key: &Key, release: &Release) -> Result<(), Failure> {
    let (decided, jumped) = (Instant::now(), context.jumped());
    let (plan, status, outcome) = consider(context, key, release, jumped);
    let Outcome { status: next, publish, mut writes, rests_on, events, measure, watch_pods, wake } = outcome;
    if let Some(candidate) = &next.candidate {
        Span::current().record("revision", &candidate.revision);
    }
    debug!(phase = %next.phase, publish, writes = writes.len(), ?wake, message = next.message, "decided");

    context.pods.watch(context, key, &watch_pods);
    let measured =
        next.candidate.as_ref().or(next.stable.as_ref()).filter(|_| next.exposed.is_some() || next.step.is_some());
    context.measures.only(key, measured.map(|revision| revision.revision.as_str()));
    if let Some(wake) = wake {
        context.releases.add_at(key.clone(), context.clock.instant(wake));
    }

    let actor = Actor { resource: Resource::Release, key, phase: Some(next.phase) };
    for seen in &rests_on {
        act::prove(context, actor, seen)
            .await
            .map_err(|refusal| (format!("find {} as it was seen", seen.name), refusal))?;
    }
    let changed = release.status.as_ref() != Some(&next);
    let proven = publish && changed;
    if proven {
        let version = publish::publish(context, key, release, &next, jumped)
            .await
            .map_err(|refusal| ("publish status".into(), refusal))?;
        act::rebase(&mut writes, &plan.resource_version, &version);
        if status.phase != next.phase {
            info!(from = %status.phase, to = %next.phase, message = next.message, "phase");
        }
        context.releases.add(key.clone());
    } else {
        context.memory.keep(key, release, &next, jumped);
    }
    context.metrics.release(sample::of(key, &next));
    count(context, key, &status, &next);
    if writes.is_empty() && !plan.has_finalizer() {
        context.proofs.rest(key);
    }
    let written = write(context, actor, release, (&writes, decided), proven).await;
    context.measures.ask(context, key, measure);
    for event in events {
        context.events.send(reference(release), event);
    }
    written
}

/// Does the writes that were `decided` at that time. Unless it is `proven` that the Release is as it was read, that comes first.
async fn write(
    context: &Context,
    actor: Actor<'_>,
    release: &Release,
    (writes, decided): (&[Write], Instant),
    proven: bool,
) -> Result<(), Failure> {
    // What changes the Release itself carries its version.
    if !proven && writes.iter().any(|write| write.kind != Kind::Release) {
        let unknown = |refusal| ("find the Release unchanged".to_owned(), refusal);
        publish::prove(context, actor, release).await.map_err(unknown)?;
    }
    let done = act::act(context, actor, writes, |write| still(context, actor.key, decided, write))
        .await
        .map_err(|(write, refusal)| (format!("{} ({:?} {})", write.purpose, write.kind, write.name), refusal))?;
    match done {
        Done::Nothing => {}
        Done::Known => context.releases.add(actor.key.clone()),
        // The watch wakes us; this is for the case that it does not.
        Done::Unknown => later(context, actor.key),
    }
    Ok(())
}

/// Counts what has ended between two statuses.
fn count(context: &Context, key: &Key, before: &ReleaseStatus, after: &ReleaseStatus) {
    let namespace = &key.namespace;
    if let Some(back) = &after.going_back
        && before.going_back.as_ref().map(|back| &back.started) != Some(&back.started)
    {
        context.metrics.rolled_back(namespace, sample::cause(back.cause));
        if back.cause == GoingBackCause::Superseded {
            context.metrics.finished(namespace, "Superseded");
        }
    }
    let outcome = match after.phase {
        after if after == before.phase => None,
        Phase::Stable => matches!(before.phase, Phase::Promoting | Phase::Baking).then_some("Succeeded"),
        Phase::RolledBack => Some("RolledBack"),
        Phase::Aborted => Some("Aborted"),
        Phase::Rejected => Some("Rejected"),
        Phase::Waiting
        | Phase::Progressing
        | Phase::Paused
        | Phase::Promoting
        | Phase::Baking
        | Phase::RollingBack
        | Phase::Invalid => None,
    };
    if let Some(outcome) = outcome {
        context.metrics.finished(namespace, outcome);
    }
}

/// How events refer to a Release.
pub fn reference(release: &Release) -> ObjectReference {
    release.object_ref(&())
}

#[cfg(test)]
mod tests;
