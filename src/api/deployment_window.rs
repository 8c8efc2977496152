//! DeploymentWindow: when exposure may grow, and when it must not.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{scalar::Duration, selector};

/// When Releases may increase exposure (Allow) and when they must not (Freeze). Windows in the operator's namespace and
/// in the Release's own are two layers: in each that has an Allow window selecting the Release, one must be open; an
/// active Freeze in either closes the gate. Going back is never blocked.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "lockkeeper.dev",
    version = "v1alpha1",
    kind = "DeploymentWindow",
    namespaced,
    shortname = "dw",
    doc = "When Releases may increase exposure (Allow) and when they must not (Freeze). Going back is never blocked.",
    status = "DeploymentWindowStatus",
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "Active", type_ = "boolean", json_path = ".status.active"),
    // Not of type date: kubectl shows a date as an age, and one that lies ahead as invalid.
    printcolumn(name = "Next start", type_ = "string", json_path = ".status.nextStart"),
    printcolumn(name = "Next end", type_ = "string", json_path = ".status.nextEnd"),
    printcolumn(name = "Releases", type_ = "integer", json_path = ".status.releases"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentWindowSpec {
    /// What holds while the window is active: Allow opens, Freeze closes.
    pub action: WindowAction,
    /// When the window is active, in one of three forms: `start`, `duration` and `recurrence`; or `cron` and
    /// `duration`; or `from` and `until` for a window that happens once. All times are wall-clock time of `timeZone`:
    /// one that falls into a daylight-saving gap is the next valid instant, one in the repeated hour happens once, the
    /// first time.
    pub schedule: Schedule,
    /// Labels of the Releases that the window is about; default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector::schema")]
    pub release_selector: Option<LabelSelector>,
    /// Labels of the namespaces whose Releases the window is about; default: every namespace. Only for windows in the
    /// operator's own namespace; elsewhere a window is about its own namespace, and the field is a fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector::schema")]
    pub namespace_selector: Option<LabelSelector>,
    /// Which increases of exposure the window is about; 1 to 3 distinct ones, default all three.
    #[serde(default = "covers_default")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub covers: Vec<Exposure>,
    /// Why, for people; shown wherever the window closes a gate. At most 256 characters; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub reason: Option<String>,
}

fn covers_default() -> Vec<Exposure> {
    Exposure::ALL.to_vec()
}

/// What holds while a window is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WindowAction {
    /// Exposure may grow while an Allow window is active, and not outside of all of them.
    Allow,
    /// Exposure does not grow while a Freeze is active.
    Freeze,
}

/// An increase of exposure, which gates are asked about beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Exposure {
    /// The release begins.
    Start,
    /// More traffic or more pods for the candidate.
    Increase,
    /// The candidate becomes the stable version.
    Promotion,
}

impl Exposure {
    /// All increases, in the order in which a release meets them.
    pub const ALL: [Self; 3] = [Self::Start, Self::Increase, Self::Promotion];
}

/// When a window is active, in the wall-clock time of a zone. Written flat, in one of three forms that differ in their
/// fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "ScheduleFields", into = "ScheduleFields")]
pub enum Schedule {
    /// `start`, `timeZone`, `duration`, `recurrence`.
    Recurring {
        /// Local date and time from which the rule counts.
        start: String,
        /// IANA name of the zone.
        time_zone: String,
        /// Elapsed time from each start.
        duration: Duration,
        /// Recurrence rule of RFC 5545.
        recurrence: String,
    },
    /// `cron`, `timeZone`, `duration`.
    Cron {
        /// Cron expression of five fields, one start for each match.
        cron: String,
        /// IANA name of the zone.
        time_zone: String,
        /// Elapsed time from each start.
        duration: Duration,
    },
    /// `from`, `until`, `timeZone`.
    Once {
        /// Local date and time of the start.
        from: String,
        /// Local date and time of the end, which is not part of the window.
        until: String,
        /// IANA name of the zone.
        time_zone: String,
    },
}

impl Schedule {
    /// IANA name of the zone in which the schedule's times are written.
    pub fn time_zone(&self) -> &str {
        match self {
            Self::Recurring { time_zone, .. } | Self::Cron { time_zone, .. } | Self::Once { time_zone, .. } => {
                time_zone
            }
        }
    }
}

/// The forms of a [`Schedule`] as they are written.
// A structural schema cannot tell them apart by itself, so rules do.
#[derive(KubeSchema, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.start), has(self.cron), has(self.from)].exists_one(given, given)").message("schedule has exactly one form: start, duration and recurrence; or cron and duration; or from and until"))]
#[x_kube(validation = Rule::new("has(self.start) == has(self.recurrence)").message("start and recurrence belong together: give both, or from and until for a window that happens once"))]
#[x_kube(validation = Rule::new("has(self.from) == has(self.until)").message("from and until belong together: give both, or neither"))]
#[x_kube(validation = Rule::new("has(self.duration) == (has(self.start) || has(self.cron))").message("duration belongs to start and to cron, which need it; beside from and until leave it out"))]
#[x_kube(validation = Rule::new("!has(self.from) || !has(self.until) || self.from < self.until").message("until must be after from"))]
struct ScheduleFields {
    /// With `recurrence`: local date and time from which the rule counts, like `2026-01-06T09:00:00`; what the rule
    /// does not say (time of day, weekday, day of month) is that of the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "local_time")]
    start: Option<String>,
    /// With `start`: a recurrence rule of RFC 5545 without the prefix `RRULE:`, like `FREQ=WEEKLY;BYDAY=TU,WE,TH`,
    /// evaluated on local time. FREQ is HOURLY or rarer; COUNT at most 1000; UNTIL local, or in UTC with a Z. At most
    /// 512 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "recurrence")]
    recurrence: Option<String>,
    /// Cron expression of five fields (minute, hour, day of month, month, day of week), like `0 9 * * 2-4`; each match
    /// starts an occurrence. Sunday is 0 or 7. If both day fields are restricted, a day that matches either counts.
    /// Besides lists, ranges and steps: names (MON, JAN), L (last), W (nearest weekday), # (`5#2`, the second Friday).
    /// At most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cron")]
    cron: Option<String>,
    /// With `start` or `cron`: how long an occurrence lasts, in elapsed time; at least 1m, at most 8784h. Occurrences
    /// that overlap or adjoin are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('8784h')").message("duration must be at least 1m and at most 8784h"))]
    duration: Option<Duration>,
    /// With `until`: local date and time of the start, like `2026-12-20T00:00:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "local_time")]
    from: Option<String>,
    /// With `from`: local date and time of the end, like `2027-01-04T00:00:00`; not part of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "local_time")]
    until: Option<String>,
    /// IANA name of the zone in which all times are written, like `Europe/Berlin` or `UTC`.
    #[schemars(schema_with = "time_zone")]
    time_zone: String,
}

/// A text whose rules say how to mend it, which a bare pattern would not.
fn text(max_length: u32, rule: &str, message: &str) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": max_length,
        "x-kubernetes-validations": [{"rule": rule, "message": message}],
    })
}

fn local_time(_: &mut SchemaGenerator) -> Schema {
    // The conversion fails, and with it the rule, for days that the calendar does not have, like 30 February.
    let rule = "self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$') && \
        timestamp(self + 'Z') >= timestamp('0001-01-01T00:00:00Z')";
    text(40, rule, "write an existing local date and time without zone, like 2026-12-20T00:00:00")
}

fn recurrence(_: &mut SchemaGenerator) -> Schema {
    let rule = "self.matches('^[A-Z]+=[A-Z0-9,+-]+(;[A-Z]+=[A-Z0-9,+-]+)*$') && \
        self.matches('(^|;)FREQ=(YEARLY|MONTHLY|WEEKLY|DAILY|HOURLY)(;|$)')";
    text(
        512,
        rule,
        "write a rule of RFC 5545 in capitals with FREQ from HOURLY to YEARLY, like FREQ=WEEKLY;BYDAY=TU,WE,TH",
    )
}

fn cron(_: &mut SchemaGenerator) -> Schema {
    let rule = "self.matches('^[^ ]+( +[^ ]+){4}$')";
    text(256, rule, "cron has five fields (minute, hour, day of month, month, day of week), like 0 9 * * 2-4")
}

fn time_zone(_: &mut SchemaGenerator) -> Schema {
    // The conversion fails, and with it the rule, for zones that the API server does not know. It has all of them built in
    // (CronJobs need them), and says which one it does not know.
    let rule = "self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$') && self != 'Local' && \
        timestamp(0).getHours(self) >= 0";
    text(64, rule, "use the IANA name of a zone, like Europe/Berlin, America/New_York or UTC")
}

impl TryFrom<ScheduleFields> for Schedule {
    type Error = &'static str;

    fn try_from(fields: ScheduleFields) -> Result<Self, Self::Error> {
        let ScheduleFields { start, recurrence, cron, duration, from, until, time_zone } = fields;
        match (start, recurrence, cron, duration, from, until) {
            (Some(start), Some(recurrence), None, Some(duration), None, None) => {
                Ok(Self::Recurring { start, time_zone, duration, recurrence })
            }
            (None, None, Some(cron), Some(duration), None, None) => Ok(Self::Cron { cron, time_zone, duration }),
            (None, None, None, None, Some(from), Some(until)) => Ok(Self::Once { from, until, time_zone }),
            _ => {
                Err("schedule has exactly one form: start, duration and recurrence; or cron and duration; or from and \
                      until; each with timeZone")
            }
        }
    }
}

impl From<Schedule> for ScheduleFields {
    fn from(schedule: Schedule) -> Self {
        let none = Self::default();
        match schedule {
            Schedule::Recurring { start, time_zone, duration, recurrence } => {
                Self { start: Some(start), time_zone, duration: Some(duration), recurrence: Some(recurrence), ..none }
            }
            Schedule::Cron { cron, time_zone, duration } => {
                Self { cron: Some(cron), time_zone, duration: Some(duration), ..none }
            }
            Schedule::Once { from, until, time_zone } => {
                Self { from: Some(from), until: Some(until), time_zone, ..none }
            }
        }
    }
}

/// Status of a DeploymentWindow.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentWindowStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Whether the window is active now. A window with faults is not; a faulty Freeze still closes the gate.
    #[serde(default)]
    pub active: bool,
    /// When the window becomes active next; none if it never does again, or if it is active with no end in sight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start: Option<Time>,
    /// When the present or, if it is not active, the next time of activity ends, overlapping and adjacent occurrences
    /// being one; none if there is none, or with no end in sight (more than 600 occurrences in a row).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_end: Option<Time>,
    /// How many Releases it selects.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 0))]
    pub releases: u32,
    /// Ready: False with every fault of the spec, or True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const FORMS: [&str; 3] = [
        r#"{"start":"2026-01-06T09:00:00","recurrence":"FREQ=DAILY","duration":"8h","timeZone":"Europe/Berlin"}"#,
        r#"{"cron":"0 9 * * 2-4","duration":"8h","timeZone":"UTC"}"#,
        r#"{"from":"2026-12-20T00:00:00","until":"2027-01-04T00:00:00","timeZone":"UTC"}"#,
    ];

    #[test]
    fn each_form_of_a_schedule_is_read_and_written_back_flat() {
        for form in FORMS {
            let schedule: Schedule = serde_json::from_str(form).unwrap();
            let written = serde_json::to_value(&schedule).unwrap();
            assert_eq!(written, serde_json::from_str::<Value>(form).unwrap());
            assert_eq!(Value::from(schedule.time_zone()), written["timeZone"]);
        }
    }

    #[test]
    fn a_schedule_of_no_form_or_several_is_refused_with_all_forms() {
        let form = |index: usize| serde_json::from_str::<serde_json::Map<String, Value>>(FORMS[index]).unwrap();
        let mut refused = vec![json!({"timeZone": "UTC"})];
        for (index, other) in [(0, 1), (1, 2), (2, 0)] {
            let mut both = form(index);
            both.extend(form(other));
            refused.push(both.into());
            for missing in form(index).keys().filter(|key| *key != "timeZone") {
                let mut part = form(index);
                part.remove(missing);
                refused.push(part.into());
            }
        }
        for schedule in refused {
            let error = serde_json::from_value::<Schedule>(schedule.clone()).expect_err(&schedule.to_string());
            assert!(error.to_string().contains("exactly one form: start"), "{schedule}: {error}");
        }
    }

    #[test]
    fn an_unknown_field_of_a_schedule_is_named() {
        let error = serde_json::from_value::<Schedule>(json!({"timeZone": "UTC", "rrule": "FREQ=DAILY"})).unwrap_err();
        assert!(error.to_string().contains("`rrule`"), "{error}");
    }

    #[test]
    fn a_window_covers_all_increases_unless_it_says_otherwise() {
        let schedule: Value = serde_json::from_str(FORMS[1]).unwrap();
        let spec: DeploymentWindowSpec =
            serde_json::from_value(json!({"action": "Freeze", "schedule": schedule})).unwrap();
        assert_eq!(spec.covers, Exposure::ALL);
    }
}
