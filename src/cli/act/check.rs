//! Whether an act makes sense now, and which revision it is about. Pure. The operator asks the same again when it counts the
//! Decision; this is the early, friendlier answer.

use lockkeeper_api::{
    Release, ReleaseStatus,
    decision::{Subject, Verdict},
    release::{ApprovalGate, GateState, GateStatus, PauseStep, Phase, RevisionStatus, Step, Strategy},
};

/// What is asked for.
pub struct Ask<'a> {
    /// The verdict.
    pub verdict: Verdict,
    /// The gate, for the verdicts that name one.
    pub gate: Option<&'a str>,
    /// The revision that the person has looked at, where they say so.
    pub revision: Option<&'a str>,
}

/// The revision that a Decision is bound to.
#[derive(Debug, PartialEq, Eq)]
pub struct Bound {
    /// The revision.
    pub revision: String,
    /// Its version, for people.
    pub version: String,
}

/// Binds the act to a revision.
///
/// # Errors
/// A sentence that says why the act makes no sense now, and what does.
pub fn check(release: &Release, ask: &Ask<'_>) -> Result<Bound, String> {
    let name = release.metadata.name.as_deref().unwrap_or_default();
    let Some(status) = &release.status else {
        return Err(format!("the operator has not looked at Release {name} yet: check that it runs"));
    };
    in_phase(name, status, ask.verdict)?;
    match ask.verdict {
        Verdict::Approve | Verdict::Reject => approval(release, status, ask)?,
        Verdict::Override => closed(status, ask.gate.unwrap_or_default())?,
        Verdict::Skip => skippable(release, status)?,
        Verdict::Pause => not_held(status)?,
        Verdict::Resume => resumable(release, status)?,
        Verdict::Rollback if status.previous.is_none() => {
            return Err(format!("{name} has no earlier version to go back to"));
        }
        Verdict::Rollback | Verdict::Promote | Verdict::Abort | Verdict::Retry => {}
    }
    let bound = match ask.verdict.subject() {
        Subject::Candidate => of(status.candidate.as_ref(), "new", name)?,
        Subject::Stable => of(status.stable.as_ref(), "stable", name)?,
        Subject::Blocked => blocked(name, status, ask.revision)?,
    };
    match ask.revision {
        Some(seen) if seen != bound.revision => Err(format!(
            "you have looked at revision {seen}, but {name} is at {} ({}) by now: look again, then decide",
            bound.revision, bound.version
        )),
        Some(_) | None => Ok(bound),
    }
}

/// Groups that the named approval gate asks for.
pub fn groups_asked(release: &Release, gate: &str) -> Vec<String> {
    approvals(release).filter(|a| a.name == gate).flat_map(|a| a.from.groups.iter().cloned()).collect()
}

fn in_phase(name: &str, status: &ReleaseStatus, verdict: Verdict) -> Result<(), String> {
    use Phase::{Aborted, Baking, Paused, Progressing, Promoting, Rejected, RolledBack, Stable, Waiting};
    let (phases, what): (&[Phase], &str) = match verdict {
        Verdict::Approve | Verdict::Reject | Verdict::Override | Verdict::Pause | Verdict::Resume => {
            (&[Waiting, Progressing, Paused], "a new version that waits or steps")
        }
        Verdict::Promote | Verdict::Skip => (&[Progressing, Paused], "a new version that steps"),
        Verdict::Abort => (&[Waiting, Progressing, Paused, Promoting], "a new version on its way"),
        Verdict::Rollback => (&[Stable, Baking], "a version that was promoted"),
        Verdict::Retry => (&[RolledBack, Aborted, Rejected], "a version that went back"),
    };
    if phases.contains(&status.phase) {
        return Ok(());
    }
    let instead = match (verdict, status.phase) {
        (Verdict::Abort, Stable | Baking) => ": use rollback to leave a promoted version",
        (Verdict::Rollback, Waiting | Progressing | Paused | Promoting) => ": use abort to leave a version on its way",
        (Verdict::Promote | Verdict::Skip, Waiting) => ": open its gates first (approve, override)",
        (Verdict::Resume, RolledBack | Aborted | Rejected) => ": use retry",
        _ => "",
    };
    Err(format!("{name} is {} and {verdict:?} is for {what}{instead}", status.phase))
}

/// Approval gates of the spec and, while a release runs, those that it started with.
fn approvals(release: &Release) -> impl Iterator<Item = &ApprovalGate> {
    let at_start = release.status.as_ref().and_then(|status| status.gates_at_start.as_ref());
    let at_start = at_start.into_iter().flat_map(|gates| &gates.approvals);
    release.spec.gates.approvals.iter().chain(at_start)
}

fn approval(release: &Release, status: &ReleaseStatus, ask: &Ask<'_>) -> Result<(), String> {
    let gate = ask.gate.unwrap_or_default();
    if !approvals(release).any(|a| a.name == gate) {
        let names = approvals(release).map(|a| a.name.clone()).collect();
        return Err(format!("there is no approval gate {gate}: {}", listed(names)));
    }
    let open = status.gates.iter().any(|g| g.name == gate && g.state == GateState::Open);
    if open && ask.verdict == Verdict::Approve {
        return Err(format!("gate {gate} is open already: nothing is left to approve"));
    }
    Ok(())
}

fn closed(status: &ReleaseStatus, gate: &str) -> Result<(), String> {
    let closed = |g: &&GateStatus| g.state == GateState::Closed;
    match status.gates.iter().find(|g| g.name == gate) {
        Some(found) if closed(&found) => Ok(()),
        Some(_) => Err(format!("gate {gate} is open: there is nothing to override")),
        None => {
            let names = status.gates.iter().filter(closed).map(|g| g.name.clone()).collect();
            Err(format!("no gate {gate} is asked now: {}", listed(names)))
        }
    }
}

fn listed(mut names: Vec<String>) -> String {
    names.sort();
    names.dedup();
    if names.is_empty() { "there is none".into() } else { format!("choose one of {}", names.join(", ")) }
}

fn step<'a>(release: &'a Release, status: &ReleaseStatus) -> Option<&'a Step> {
    let Strategy::Canary(canary) = &release.spec.strategy;
    canary.steps.get(usize::try_from(status.step.as_ref()?.index).ok()?)
}

fn skippable(release: &Release, status: &ReleaseStatus) -> Result<(), String> {
    match step(release, status) {
        Some(Step::Approval(approval)) => {
            Err(format!("Skip never opens a gate: approve gate {0}, or override it", approval.name))
        }
        Some(Step::SetWeight(_) | Step::SetCanaryScale(_) | Step::Pause(_) | Step::Analysis(_)) | None => Ok(()),
    }
}

fn not_held(status: &ReleaseStatus) -> Result<(), String> {
    match &status.hold {
        Some(hold) => Err(format!("it is held already: {}", hold.message)),
        None => Ok(()),
    }
}

fn resumable(release: &Release, status: &ReleaseStatus) -> Result<(), String> {
    let paused = matches!(step(release, status), Some(Step::Pause(PauseStep { duration: None })));
    if status.hold.is_some() || paused {
        return Ok(());
    }
    Err(format!("nothing holds it that Resume ends; it says: {}", status.message))
}

/// The newest blocked revision that is the candidate, else the only one; or the one that the person names.
fn blocked(name: &str, status: &ReleaseStatus, seen: Option<&str>) -> Result<Bound, String> {
    let candidate = status.candidate.as_ref().map(|c| c.revision.as_str());
    let blocked: Vec<_> = status.blocked.iter().filter(|blocked| !blocked.retried).collect();
    let of_revision = |revision: &str| blocked.iter().rev().copied().find(|b| b.revision == revision);
    let found = match (seen, blocked.as_slice()) {
        (Some(revision), _) => of_revision(revision),
        (None, [only]) => Some(*only),
        (None, _) => candidate.and_then(of_revision),
    };
    match found {
        Some(b) => Ok(Bound { revision: b.revision.clone(), version: b.version.clone() }),
        None => {
            let names = blocked.iter().map(|b| format!("{} ({})", b.revision, b.version)).collect();
            Err(format!("say with --revision which blocked revision of {name} may start again: {}", listed(names)))
        }
    }
}

fn of(revision: Option<&RevisionStatus>, which: &str, name: &str) -> Result<Bound, String> {
    match revision {
        Some(r) => Ok(Bound { revision: r.revision.clone(), version: r.version.clone() }),
        None => Err(format!("{name} has no {which} version to decide about")),
    }
}

#[cfg(test)]
mod tests;
