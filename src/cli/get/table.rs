//! Tables as kubectl prints them.

use comfy_table::{Row, Table, presets};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::DynamicObject;
use lockkeeper_api::Release;

/// A table without borders; every line ends with a line break.
pub fn table<C: Into<Row>>(header: impl Into<Row>, rows: impl IntoIterator<Item = C>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The table of Releases.
pub fn releases(objects: &[DynamicObject], namespaces: bool, wide: bool, now: Timestamp) -> String {
    if objects.is_empty() {
        return "There are no Releases here; -A shows those of all namespaces.\n".into();
    }
    let rows = objects.iter().map(|object| {
        let [name, version, phase, step, weight, ready, age, message] = row(object, now);
        let namespace = object.metadata.namespace.clone().unwrap_or_default();
        [namespace, name, version, phase, step, weight, ready, age, message]
    });
    let whole = ["NAMESPACE", "NAME", "VERSION", "PHASE", "STEP", "WEIGHT", "READY", "AGE", "MESSAGE"];
    let cut = |cells: [String; 9]| {
        let cells = cells.into_iter().skip(usize::from(!namespaces));
        cells.take(if wide { 9 } else { 8 - usize::from(!namespaces) }).collect::<Vec<_>>()
    };
    table(cut(whole.map(String::from)), rows.map(cut))
}

fn row(object: &DynamicObject, now: Timestamp) -> [String; 8] {
    let name = object.metadata.name.clone().unwrap_or_default();
    let age = object.metadata.creation_timestamp.as_ref().map(|t| length(now.duration_since(t.0))).unwrap_or_default();
    let dash = || "-".to_string();
    match super::read(object) {
        Err(fault) => [name, dash(), "Unreadable".into(), dash(), dash(), dash(), age, fault],
        Ok(Release { status: None, .. }) => {
            [name, dash(), dash(), dash(), dash(), dash(), age, "the operator has not looked at it yet".into()]
        }
        Ok(Release { status: Some(status), .. }) => [
            name,
            status.version.unwrap_or_else(dash),
            status.phase.to_string(),
            status.step.map_or_else(dash, |step| step.position),
            status.weight.map_or_else(dash, |weight| format!("{} %", weight.confirmed)),
            status.conditions.into_iter().find(|c| c.type_ == "Ready").map_or_else(dash, |c| c.status),
            age,
            status.message,
        ],
    }
}

/// A length of time for people: its two greatest units, `2d3h`, `5m`, `40s`.
pub fn length(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let parts = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = parts.iter().position(|(number, _)| *number > 0).unwrap_or(3);
    parts
        .iter()
        .skip(first)
        .take(2)
        .filter(|(n, _)| *n > 0 || seconds == 0)
        .map(|(n, unit)| format!("{n}{unit}"))
        .collect()
}

/// `2026-01-06T09:00:00Z (5m ago)`, or `(in 5m)`.
pub fn moment(time: &Time, now: Timestamp) -> String {
    let apart = now.duration_since(time.0);
    let text = if apart.is_negative() { format!("in {}", length(-apart)) } else { format!("{} ago", length(apart)) };
    let seconds = Timestamp::from_second(time.0.as_second()).unwrap_or(time.0);
    format!("{seconds} ({text})")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lengths_have_their_two_greatest_units() {
        for (seconds, text) in [
            (0, "0s"),
            (40, "40s"),
            (60, "1m"),
            (90, "1m30s"),
            (3600, "1h"),
            (183_900, "2d3h"),
            (86_410, "1d"),
            (-5, "0s"),
        ] {
            assert_eq!(length(SignedDuration::from_secs(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn moments_say_how_far_away_they_are() {
        let now: Timestamp = "2026-01-06T09:05:00Z".parse().unwrap();
        let at = |text: &str| moment(&Time(text.parse().unwrap()), now);
        assert_eq!(at("2026-01-06T09:00:00.123Z"), "2026-01-06T09:00:00Z (4m59s ago)");
        assert_eq!(at("2026-01-06T10:05:00Z"), "2026-01-06T10:05:00Z (in 1h)");
    }

    #[test]
    fn a_release_that_cannot_be_read_is_a_row_among_the_others() {
        let object = |spec| {
            serde_json::from_value(json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release",
                "metadata": {"name": "x", "namespace": "shop"}, "spec": spec}))
            .unwrap()
        };
        let good = json!({"workloads": [], "strategy": {"canary": {"steps": []}}});
        let objects: [DynamicObject; 2] = [object(json!({"strategy": "leap"})), object(good)];
        let text = releases(&objects, true, true, Timestamp::UNIX_EPOCH);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("NAMESPACE  NAME  VERSION"), "{text}");
        assert!(lines[0].ends_with("MESSAGE"), "{text}");
        assert!(lines[1].contains("Unreadable"), "{text}");
        assert!(lines[2].contains("not looked at it yet"), "{text}");
        let narrow = releases(&objects, false, false, Timestamp::UNIX_EPOCH);
        assert!(narrow.starts_with("NAME ") && !narrow.contains("MESSAGE") && narrow.contains("AGE"), "{narrow}");
    }
}
