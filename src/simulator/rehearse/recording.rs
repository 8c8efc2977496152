//! Recorded metrics: what checks measured once, played again.

use std::collections::BTreeMap;

use serde::Deserialize;

/// How long a recorded value holds, in seconds: as long as Prometheus takes a sample for current.
pub const STALE_AFTER: f64 = 300.0;

/// Values by check, each with its time in seconds since the new version's first traffic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    series: BTreeMap<String, Vec<(f64, f64)>>,
}

/// Why recorded metrics cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// A line of CSV is not as it should be.
    #[error("line {line}: {fault}: write time,check,value, like 15,checkout-slo/error-rate,0.002")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        fault: &'static str,
    },
    /// The JSON is no answer to a range query.
    #[error("is no answer to a Prometheus range query (/api/v1/query_range): {0}")]
    Json(String),
    /// It is not known which check a series belongs to.
    #[error(
        "a series has no label check, and the file has {0} series: give one with --metrics CHECK=FILE, or label them"
    )]
    Nameless(usize),
    /// There is nothing in it.
    #[error("has no values")]
    Empty,
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl Recording {
    /// Reads a file: JSON if it begins with a brace, otherwise CSV. Its first time is 0. `check` says what its one series is about.
    ///
    /// # Errors
    /// What is wrong, and how it should be.
    pub fn parse(text: &str, check: Option<&str>) -> Result<Self, RecordingError> {
        let mut recording =
            if text.trim_start().starts_with('{') { Self::json(text, check)? } else { Self::csv(text, check)? };
        let times = recording.series.values().flatten().map(|(time, _)| *time);
        let Some(first) = times.reduce(f64::min) else { return Err(RecordingError::Empty) };
        for series in recording.series.values_mut() {
            series.sort_by(|a, b| a.0.total_cmp(&b.0));
            series.iter_mut().for_each(|(time, _)| *time -= first);
        }
        Ok(recording)
    }

    fn json(text: &str, check: Option<&str>) -> Result<Self, RecordingError> {
        let answer: Answer = serde_json::from_str(text).map_err(|error| RecordingError::Json(error.to_string()))?;
        if answer.data.result_type != "matrix" {
            return Err(RecordingError::Json(format!("resultType is {}, not matrix", answer.data.result_type)));
        }
        let many = answer.data.result.len();
        let mut recording = Self::default();
        for series in answer.data.result {
            let named = check.filter(|_| many == 1).or(series.metric.get("check").map(String::as_str));
            let Some(name) = named else { return Err(RecordingError::Nameless(many)) };
            for (time, value) in series.values {
                let value = value.parse().map_err(|_| RecordingError::Json(format!("{value} is no number")))?;
                recording.series.entry(name.to_owned()).or_default().push((time, value));
            }
        }
        Ok(recording)
    }

    fn csv(text: &str, check: Option<&str>) -> Result<Self, RecordingError> {
        let mut recording = Self::default();
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        for (line, content) in lines.filter(|(_, content)| !content.is_empty() && !content.starts_with('#')) {
            let fault = |fault| RecordingError::Line { line, fault };
            let fields: Vec<&str> = content.split(',').map(str::trim).collect();
            if line == 1 && fields.first() == Some(&"time") {
                continue;
            }
            let (time, name, value) = match (fields.as_slice(), check) {
                ([time, name, value], _) => (*time, *name, *value),
                ([time, value], Some(name)) => (*time, name, *value),
                (_, _) => return Err(fault("it does not have three fields")),
            };
            let time =
                seconds(time).ok_or_else(|| fault("the time is neither seconds nor like 2026-01-06T09:00:00Z"))?;
            let value: f64 = value.parse().map_err(|_| fault("the value is no number"))?;
            recording.series.entry(name.to_owned()).or_default().push((time, value));
        }
        Ok(recording)
    }

    /// Adds what another file has.
    pub fn merge(&mut self, other: Self) {
        for (check, values) in other.series {
            self.series.entry(check).or_default().extend(values);
        }
        self.series.values_mut().for_each(|series| series.sort_by(|a, b| a.0.total_cmp(&b.0)));
    }

    /// The checks that it knows.
    pub fn checks(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// Whether it knows this check, by `policy/check` or `check`.
    pub fn knows(&self, check: &str) -> bool {
        self.find(check).is_some()
    }

    /// What the check measured so many seconds after the first traffic; none where nothing was recorded within five minutes before.
    pub fn at(&self, check: &str, seconds: f64) -> Option<f64> {
        let series = self.find(check)?;
        let past = series.partition_point(|(time, _)| *time <= seconds);
        let (time, value) = series.get(past.checked_sub(1)?)?;
        (seconds - time <= STALE_AFTER).then_some(*value)
    }

    fn find(&self, check: &str) -> Option<&Vec<(f64, f64)>> {
        let short = check.rsplit('/').next().unwrap_or(check);
        self.series.get(check).or_else(|| self.series.get(short))
    }
}

/// Seconds as a number, or a moment as seconds since 1970.
fn seconds(text: &str) -> Option<f64> {
    let number = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
    number.or_else(|| Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond() as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_and_json_say_the_same() {
        let csv = "time,check,value\n2026-01-06T09:00:00Z,slo/errors,0.001\n2026-01-06T09:00:15Z,slo/errors,0.2\n";
        let json = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"job":"x"},"values":[[1767690000,"0.001"],[1767690015,"0.2"]]}]}}"#;
        let csv = Recording::parse(csv, None).unwrap();
        let json = Recording::parse(json, Some("slo/errors")).unwrap();
        assert_eq!(csv, json);
        assert_eq!((csv.at("slo/errors", 14.9), csv.at("errors", 15.0)), (Some(0.001), None));
        assert_eq!(csv.at("slo/errors", 15.0), Some(0.2));
    }

    #[test]
    fn a_short_name_is_enough_and_old_values_are_none() {
        let recording = Recording::parse("0,errors,0.5", None).unwrap();
        assert_eq!(recording.at("slo/errors", 300.0), Some(0.5));
        assert_eq!(recording.at("slo/errors", 301.0), None);
        assert_eq!(recording.at("slo/latency", 0.0), None);
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_way_out() {
        let fault = |text: &str, check| Recording::parse(text, check).unwrap_err().to_string();
        assert!(fault("1,2", None).contains("line 1") && fault("1,2", None).contains("time,check,value"));
        assert!(fault("soon,errors,1", None).contains("seconds"));
        assert!(fault("1,errors,many", None).contains("no number"));
        assert_eq!(fault("\n", None), "has no values");
        assert!(fault("{}", None).contains("range query"));
        let vector = r#"{"data":{"resultType":"vector","result":[]}}"#;
        assert!(fault(vector, None).contains("vector"));
        let two = r#"{"data":{"resultType":"matrix","result":[{"metric":{}},{"metric":{}}]}}"#;
        assert!(fault(two, Some("errors")).contains("2 series"));
    }
}
