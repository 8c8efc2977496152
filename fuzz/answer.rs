//! What metric sources say, now and recorded.

use lockkeeper_adapters::metric::{Sample, prometheus};
use lockkeeper_simulator::rehearse::Recording;
use serde_json::Value;

/// An answer of Prometheus. The first line is the status, and `html` where it is a page; the rest is the body.
pub fn metric_answer(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (head, body) = (std::str::from_utf8(&data[..end]).unwrap_or_default(), &data[end + 1..]);
    let (status, is_html) = head.strip_suffix(" html").map_or((head, false), |status| (status, true));
    let Ok(status) = status.parse::<u16>() else { return };
    match prometheus::read_answer(status, is_html, body.to_vec()) {
        Ok(measurement) => {
            assert!((200..300).contains(&status) && !is_html, "{status} is no success");
            let said: Value = serde_json::from_slice(body).expect("a number out of no JSON");
            assert_eq!(said["status"], "success", "{said}");
            if let Sample::Value(value) = measurement.sample {
                assert!(value.is_finite());
                let result = &said["data"]["result"];
                let alone =
                    said["data"]["resultType"] == "scalar" || result.as_array().is_some_and(|all| all.len() == 1);
                assert!(alone, "which of several counts is not for us to guess: {said}");
            }
        }
        Err(fault) => assert!(!fault.to_string().is_empty() && !fault.reason().is_empty()),
    }
}

/// Recorded metrics. It begins at 0, and what it knows is something.
pub fn recording(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for check in [None, Some("slo/errors")] {
        match Recording::parse(text, check) {
            Ok(recording) => {
                let known: Vec<String> = recording.checks().map(str::to_owned).collect();
                assert!(known.iter().any(|check| recording.at(check, 0.0).is_some()), "{text:?}");
                assert!(
                    known.iter().all(|check| recording.knows(check) && recording.at(check, -1.0).is_none()),
                    "{text:?}"
                );
                let mut twice = recording.clone();
                twice.merge(recording.clone());
                assert_eq!(twice.checks().collect::<Vec<_>>(), known);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}
