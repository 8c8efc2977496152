//! Logs: text for people, or JSON for machines; to standard error, times in UTC.

use std::{fmt, io, str::FromStr};

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{MakeWriter, layer},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object a line, with the fields of the event at its top level and those of the span below `span`.
    Json,
}

/// What is logged: a level for all, and levels for single parts by the module path that they begin with.
#[derive(Clone, Debug, PartialEq)]
pub struct LogFilter {
    targets: Targets,
    text: String,
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    /// Stricter than `Targets`, which takes a misspelt level for the name of a part and so logs next to nothing.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut targets = Targets::new();
        for part in text.split(',').map(str::trim) {
            targets = match part.split_once('=') {
                Some(("", _)) => None,
                Some((target, text)) => level(text).map(|level| targets.with_target(target, level)),
                None => level(part).map(|level| targets.with_default(level)),
            }
            .ok_or_else(|| LogFilterError(part.into()))?;
        }
        Ok(Self { targets, text: text.into() })
    }
}

fn level(text: &str) -> Option<LevelFilter> {
    // The parser of levels takes an empty text for `error`.
    if text.is_empty() { None } else { text.parse().ok() }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is no log filter.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no log filter: write a level (error, warn, info, debug, trace, off) or, comma separated, parts with their own like \
     info,lockkeeper_engine=debug"
)]
pub struct LogFilterError(String);

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("failed to set up logging: a subscriber is already installed in this process")]
pub struct InstallError(#[source] tracing_subscriber::util::TryInitError);

/// Makes this process log to standard error. To be called once, before anything logs.
///
/// # Errors
/// When something else in the process has already taken the log over.
pub fn install(format: LogFormat, filter: &LogFilter) -> Result<(), InstallError> {
    Registry::default().with(output(format, filter, io::stderr)).try_init().map_err(InstallError)
}

fn output<W>(format: LogFormat, filter: &LogFilter, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = layer().with_writer(writer).with_ansi(false);
    match format {
        LogFormat::Text => lines.with_filter(quiet_client(filter)).boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_span_list(false).with_filter(quiet_client(filter)).boxed()
        }
    }
}

/// kube logs every answer of 500 and above as an error of its own; the operator says the same with more sense, so only who asks
/// for that part gets it.
fn quiet_client(LogFilter { targets, .. }: &LogFilter) -> Targets {
    const CLIENT: &str = "kube_client::client::builder";
    let asked_for = targets.iter().any(|(target, _)| target.starts_with("kube"));
    if asked_for { targets.clone() } else { targets.clone().with_target(CLIENT, LevelFilter::OFF) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written for one event inside a reconcile span and two beside it.
    fn logged(format: LogFormat, filter: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = Registry::default().with(output(format, &filter.parse().unwrap(), move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("reconcile", release = "shop/checkout", revision = "5d8f").entered();
            tracing::info!(weight = 50, "weight increased");
            tracing::debug!("a detail");
            tracing::error!(target: "kube_client::client::builder", "failed with status 503");
        });
        let bytes = lines.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_has_one_object_a_line_with_its_span_and_a_time_in_utc() {
        let text = logged(LogFormat::Json, "info");
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [line] = lines.as_slice() else { panic!("one line expected: {text}") };
        assert_eq!(line["message"], "weight increased");
        assert_eq!(line["weight"], 50);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["span"]["release"], "shop/checkout");
        assert_eq!(line["span"]["revision"], "5d8f");
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }

    #[test]
    fn text_is_one_plain_line_with_its_span() {
        let text = logged(LogFormat::Text, "info");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("weight increased") && text.contains("release=\"shop/checkout\""), "{text}");
        assert!(!text.contains('\u{1b}'), "no colour codes in a log that is not a terminal: {text:?}");
    }

    #[test]
    fn a_part_can_have_its_own_level() {
        assert!(logged(LogFormat::Text, "warn").is_empty());
        assert!(logged(LogFormat::Text, "warn,lockkeeper_operator=debug").contains("a detail"));
        assert!(logged(LogFormat::Text, "info,kube_client=error").contains("503"));
    }

    #[test]
    fn a_filter_that_means_nothing_is_refused_with_an_example() {
        for text in ["", "loud", "a=b=c", "=info", "info,x=shout", "info,,warn"] {
            let error = text.parse::<LogFilter>().unwrap_err().to_string();
            assert!(error.contains("lockkeeper_engine=debug"), "{text}: {error}");
        }
    }
}
