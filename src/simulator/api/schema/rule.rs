//! CEL rules of schemas: the part of Kubernetes' library that our rules use (`matches`, `duration`,
//! `timestamp` and `getHours` beside the language itself).

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use cel::{Context, ExecutionError, Program, Value as Cel, extractors::This};
use jiff::{Timestamp, tz::TimeZoneDatabase};
use regex::Regex;
use serde_json::Value;

use crate::api::object::text;

/// A rule.
#[derive(Debug)]
pub struct Rule {
    source: String,
    program: Option<Program>,
    message: String,
    /// Whether it compares with what was before; such a rule says nothing about what is new.
    transition: bool,
}

thread_local! {
    static ROOT: Context<'static, 'static> = {
        let mut context = Context::default();
        // Refused only where the library brings its own of that name, which does as well.
        let _ = context.add_function("matches", matches).and(context.add_function("duration", duration));
        let _ = context.add_function("timestamp", timestamp).and(context.add_function("getHours", hours));
        context
    };
    static PATTERNS: RefCell<HashMap<String, Option<Regex>>> = RefCell::default();
}

fn matches(This(text): This<Arc<String>>, pattern: Arc<String>) -> Result<bool, ExecutionError> {
    let found = PATTERNS.with_borrow_mut(|patterns| {
        let pattern = patterns.entry(pattern.to_string()).or_insert_with(|| Regex::new(&pattern).ok());
        pattern.as_ref().map(|pattern| pattern.is_match(&text))
    });
    found.ok_or_else(|| ExecutionError::function_error("matches", "not a valid pattern"))
}

/// In milliseconds, which is all that our rules compare.
fn timestamp(written: Cel) -> Result<i64, ExecutionError> {
    let fault = || ExecutionError::function_error("timestamp", "not a valid time");
    match written {
        Cel::Int(seconds) => Ok(seconds.saturating_mul(1000)),
        Cel::String(text) => Ok(text.parse::<Timestamp>().map_err(|_| fault())?.as_millisecond()),
        _ => Err(fault()),
    }
}

/// The hour of a time in a zone.
fn hours(This(milliseconds): This<i64>, zone: Arc<String>) -> Result<i64, ExecutionError> {
    let fault = || ExecutionError::function_error("getHours", "unknown time zone");
    let zone = TimeZoneDatabase::bundled().get(&zone).map_err(|_| fault())?;
    let at = Timestamp::from_millisecond(milliseconds).map_err(|_| fault())?;
    Ok(at.to_zoned(zone).hour().into())
}

fn invalid() -> ExecutionError {
    ExecutionError::function_error("duration", "not a valid duration")
}

/// In milliseconds, which is all that our rules compare.
fn duration(written: Arc<String>) -> Result<i64, ExecutionError> {
    let (mut total, mut number) = (0_i64, String::new());
    let mut characters = written.chars().peekable();
    while let Some(character) = characters.next() {
        let unit = match character {
            '0'..='9' => {
                number.push(character);
                continue;
            }
            'h' => 3_600_000,
            'm' if characters.next_if_eq(&'s').is_some() => 1,
            'm' => 60_000,
            's' => 1_000,
            _ => return Err(invalid()),
        };
        let count: i64 = number.parse().map_err(|_| invalid())?;
        total = total.saturating_add(count.saturating_mul(unit));
        number.clear();
    }
    if number.is_empty() && !written.is_empty() { Ok(total) } else { Err(invalid()) }
}

impl Rule {
    /// Reads a rule as the CRD has it.
    pub fn read(rule: &Value) -> Self {
        let source = text(&rule["rule"]).to_owned();
        Self {
            program: Program::compile(&source).ok(),
            message: text(&rule["message"]).to_owned(),
            transition: source.contains("oldSelf"),
            source,
        }
    }

    /// Whether it can be evaluated.
    #[cfg(test)]
    pub fn compiles(&self) -> bool {
        self.program.is_some()
    }

    /// What is wrong with a value, if anything is.
    pub fn fault(&self, old: Option<&Value>, value: &Value) -> Option<String> {
        if self.transition && old.is_none() {
            return None;
        }
        let Some(program) = &self.program else { return Some(format!("rule cannot be compiled: {}", self.source)) };
        ROOT.with(|root| {
            let mut scope = root.new_inner_scope();
            scope.add_variable_from_value("self", to_cel(value));
            if let Some(old) = old.filter(|_| self.transition) {
                scope.add_variable_from_value("oldSelf", to_cel(old));
            }
            match program.execute(&scope) {
                Ok(Cel::Bool(true)) => None,
                Ok(_) if self.message.is_empty() => Some(format!("failed rule: {}", self.source)),
                // What cannot be converted, as a day that there is not, or is not there, breaks the rule, too.
                Ok(_) | Err(ExecutionError::FunctionError { .. } | ExecutionError::NoSuchKey(_)) => {
                    Some(self.message.clone())
                }
                Err(error) => Some(format!("rule {} cannot be evaluated: {error}", self.source)),
            }
        })
    }
}

/// Null fields are not there.
fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(truth) => Cel::Bool(*truth),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| Cel::Float(number.as_f64().unwrap_or_default()), Cel::Int)
        }
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            Cel::from(fields.map(|(name, value)| (name.as_str(), to_cel(value))).collect::<HashMap<_, _>>())
        }
    }
}
