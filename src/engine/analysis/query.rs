//! Queries with placeholders.

use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::{Facts, Side};

/// Longest query, in bytes.
const LENGTH_MAX: usize = 8192;
/// Steps of filling in that a query may take: far more than one of the greatest length needs.
const FUEL: u64 = 20_000;
/// Every placeholder that there is.
pub const PLACEHOLDERS: [&str; 9] = [
    "namespace",
    "release",
    "version",
    "candidate.pods",
    "candidate.version",
    "candidate.revision",
    "stable.pods",
    "stable.version",
    "stable.revision",
];

/// A query whose placeholders are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query(String);

impl Query {
    /// Reads a query; the fault goes on after the name of the field.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("is empty: give a PromQL query".to_owned());
        }
        if text.len() > LENGTH_MAX {
            return Err(format!("is longer than {LENGTH_MAX} bytes: shorten it"));
        }
        // Placeholders are all that a query needs; loops and conditions would make its cost and its faults depend on data.
        if text.contains("{%") || text.contains("{#") {
            return Err("has a block: only placeholders in double braces are known".to_owned());
        }
        let environment = environment();
        let unreadable =
            |error: minijinja::Error| format!("cannot be read: {error}: write placeholders like {{{{ namespace }}}}");
        let template = environment.template_from_str(text).map_err(unreadable)?;
        let mut unknown: Vec<String> = template
            .undeclared_variables(true)
            .into_iter()
            .filter(|name| !PLACEHOLDERS.contains(&name.as_str()))
            .collect();
        unknown.sort();
        if !unknown.is_empty() {
            return Err(format!(
                "has unknown placeholder {}: there are {}",
                unknown.join(", "),
                PLACEHOLDERS.join(", ")
            ));
        }
        let query = Self(text.to_owned());
        // Once with text and once without, so that nothing is left that depends on the text.
        for facts in [sample(), Facts::default()] {
            query.fill(&facts).map_err(unreadable)?;
        }
        Ok(query)
    }

    /// The query with its placeholders filled in, safe within PromQL's quotes.
    pub(super) fn fill(&self, facts: &Facts) -> Result<String, minijinja::Error> {
        environment().render_str(
            &self.0,
            context! {
                namespace => quoted(&facts.namespace),
                release => quoted(&facts.release),
                version => quoted(&facts.version),
                candidate => side(&facts.candidate),
                stable => side(&facts.stable),
            },
        )
    }
}

/// No functions, no filters, no loader: only placeholders.
fn environment<'source>() -> Environment<'source> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
}

fn side(side: &Side) -> Value {
    context! { pods => quoted(&side.pods), version => quoted(&side.version), revision => quoted(&side.revision) }
}

fn sample() -> Facts {
    let side = || Side { pods: "pod".into(), version: "1.0.0".into(), revision: "r1".into() };
    Facts { namespace: "n".into(), release: "r".into(), version: "1.0.0".into(), candidate: side(), stable: side() }
}

/// A text that stands within PromQL's quotes and cannot leave them. Single and back quotes are written as code points, because
/// PromQL knows no escape for the quotes of another kind.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            '\'' => quoted.push_str("\\x27"),
            '`' => quoted.push_str("\\x60"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            other => quoted.push(other),
        }
    }
    quoted
}
