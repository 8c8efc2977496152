//! One Release in detail: what it does, what it waits for, since when and until when.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::{
    Release, ReleaseStatus,
    release::{CountedDecision, RevisionStatus},
};

use super::table::{moment, table};

/// The whole page.
pub fn detail(release: &Release, now: Timestamp) -> String {
    let namespace = release.metadata.namespace.as_deref().unwrap_or_default();
    let name = release.metadata.name.as_deref().unwrap_or_default();
    let Some(status) = &release.status else {
        return format!("{namespace}/{name}: the operator has not looked at it yet; check that it runs\n");
    };
    let mut lines = vec![("Release", format!("{namespace}/{name}")), ("Message", status.message.clone())];
    if status.observed_generation < release.metadata.generation {
        lines.push(("Note", "the spec has changed since: the operator has not looked at it yet".into()));
    }
    lines.extend(facts(status, now));
    let head: String = lines.into_iter().map(|(label, text)| format!("{label:<10}{text}\n")).collect();
    [
        head,
        gates(status, now),
        checks(status, now),
        conditions(status, now),
        decisions(status, now),
        blocked(status, now),
    ]
    .into_iter()
    .filter(|part| !part.is_empty())
    .collect::<Vec<_>>()
    .join("\n")
}

fn facts(status: &ReleaseStatus, now: Timestamp) -> Vec<(&'static str, String)> {
    let since = status.since.as_ref().map(|t| format!(" since {}", moment(t, now))).unwrap_or_default();
    let mut lines = vec![("Phase", format!("{}{since}", status.phase))];
    let revisions = [("Candidate", &status.candidate), ("Stable", &status.stable), ("Previous", &status.previous)];
    lines.extend(revisions.into_iter().filter_map(|(label, r)| Some((label, revision(r.as_ref()?, now)))));
    if let Some(step) = &status.step {
        lines.push(("Step", format!("{} since {}", step.position, moment(&step.started, now))));
    }
    if let Some(weight) = status.weight {
        lines.push(("Weight", format!("{} % asked for, {} % confirmed", weight.desired, weight.confirmed)));
    }
    if let Some(hold) = &status.hold {
        lines.push(("Held", format!("{} ({}) since {}", hold.message, hold.reason, moment(&hold.since, now))));
    }
    if let Some(back) = &status.going_back {
        lines.push(("Went back", format!("{} ({:?}) {}", back.message, back.cause, moment(&back.started, now))));
    }
    let ends = [("Bake ends", &status.bake_until), ("Next", &status.next_transition_time)];
    lines.extend(ends.into_iter().filter_map(|(label, time)| Some((label, moment(time.as_ref()?, now)))));
    lines
}

fn revision(r: &RevisionStatus, now: Timestamp) -> String {
    let by = r.requested_by.as_ref().map(|by| format!(", asked for by {by}")).unwrap_or_default();
    format!("{} (revision {}) since {}{by}", r.version, r.revision, moment(&r.since, now))
}

/// A titled table, or nothing where there are no rows.
fn part<const N: usize>(title: &str, header: [&str; N], rows: Vec<[String; N]>) -> String {
    if rows.is_empty() { String::new() } else { format!("{title}\n{}", table(header, rows)) }
}

fn maybe(time: Option<&Time>, now: Timestamp) -> String {
    time.map_or_else(|| "-".into(), |time| moment(time, now))
}

fn gates(status: &ReleaseStatus, now: Timestamp) -> String {
    let rows = status.gates.iter().map(|g| {
        let until = maybe(g.next_change.as_ref(), now);
        [
            g.name.clone(),
            format!("{:?}", g.kind),
            format!("{:?}", g.state),
            g.reason.clone(),
            moment(&g.since, now),
            until,
            g.message.clone(),
        ]
    });
    part("Gates", ["NAME", "KIND", "STATE", "REASON", "SINCE", "UNTIL", "MESSAGE"], rows.collect())
}

fn checks(status: &ReleaseStatus, now: Timestamp) -> String {
    let rows = status.checks.iter().map(|c| {
        let value = c.value.clone().unwrap_or_else(|| "-".into());
        let counts = [c.successes, c.failures, c.errors].map(|n| n.to_string());
        let [successes, failures, errors] = counts;
        let measured = maybe(c.last_measured.as_ref(), now);
        let message = c.message.clone().unwrap_or_default();
        [c.name.clone(), format!("{:?}", c.outcome), value, successes, failures, errors, measured, message]
    });
    let header = ["NAME", "OUTCOME", "VALUE", "SUCCESSES", "FAILURES", "ERRORS", "MEASURED", "MESSAGE"];
    part("Checks", header, rows.collect())
}

fn conditions(status: &ReleaseStatus, now: Timestamp) -> String {
    let rows = status.conditions.iter().map(|c| {
        let since = moment(&c.last_transition_time, now);
        [c.type_.clone(), c.status.clone(), c.reason.clone(), since, c.message.clone()]
    });
    part("Conditions", ["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"], rows.collect())
}

fn decisions(status: &ReleaseStatus, now: Timestamp) -> String {
    let rows = status.decisions.iter().map(|d| {
        let gate = d.gate.clone().unwrap_or_else(|| "-".into());
        let until = maybe(d.until.as_ref(), now);
        [format!("{:?}", d.verdict), gate, d.by.clone(), moment(&d.at, now), until, counted(d)]
    });
    part("Decisions", ["VERDICT", "GATE", "BY", "AT", "UNTIL", "COUNTED"], rows.collect())
}

fn counted(decision: &CountedDecision) -> String {
    match (&decision.refused, decision.spent) {
        (Some(reason), _) => format!("no: {reason}"),
        (None, true) => "for an earlier attempt".into(),
        (None, false) => "yes".into(),
    }
}

fn blocked(status: &ReleaseStatus, now: Timestamp) -> String {
    let rows = status.blocked.iter().filter(|b| !b.retried).map(|b| {
        [b.revision.clone(), b.version.clone(), b.phase.to_string(), moment(&b.since, now), b.message.clone()]
    });
    part("Blocked until retry", ["REVISION", "VERSION", "PHASE", "SINCE", "MESSAGE"], rows.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_page_tells_what_it_waits_for_since_when_and_until_when() {
        let release: Release = serde_json::from_value(json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release",
            "metadata": {"name": "checkout", "namespace": "shop", "generation": 2},
            "spec": {"workloads": [], "strategy": {"canary": {"steps": []}}},
            "status": {
                "observedGeneration": 1, "phase": "Paused", "since": "2026-01-06T09:00:00Z", "message": "waits for windows",
                "weight": {"desired": 50, "confirmed": 10},
                "gates": [{"name": "windows", "kind": "Windows", "state": "Closed", "reason": "Freeze",
                    "message": "Christmas freeze", "since": "2026-01-06T09:00:00Z", "nextChange": "2026-01-06T11:00:00Z"}],
                "decisions": [{"uid": "u", "name": "d", "verdict": "Approve", "gate": "board", "by": "alice",
                    "at": "2026-01-06T09:00:00Z", "refused": "alice is the requester"}],
            },
        }))
        .unwrap();
        let text = detail(&release, "2026-01-06T10:00:00Z".parse().unwrap());
        for words in [
            "Release   shop/checkout\nMessage   waits for windows\nNote",
            "Phase     Paused since 2026-01-06T09:00:00Z (1h ago)",
            "50 % asked for, 10 % confirmed",
            "Gates\nNAME",
            "2026-01-06T11:00:00Z (in 1h)",
            "Christmas freeze",
            "no: alice is the requester",
        ] {
            assert!(text.contains(words), "{words:?} expected in:\n{text}");
        }
        assert!(!text.contains("Checks"), "a part without rows is left out:\n{text}");
    }
}
