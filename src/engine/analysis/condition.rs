//! Conditions: CEL expressions over `value`.

use std::{fmt, sync::Arc};

use cel::{
    Context, ExecutionError, Program, Value,
    common::ast::{EntryExpr, Expr},
};

/// Longest expression, in bytes.
const LENGTH_MAX: usize = 1024;
/// Deepest nesting: the parser descends once for each, and its stack is not endless.
const NESTING_MAX: usize = 16;
/// Values with which an expression is tried when it is read.
const SAMPLES: [f64; 7] = [0.0, 1.0, -1.0, 0.5, 50.0, 1e9, -1e9];

/// An expression that says of a value whether it is a success.
#[derive(Clone)]
pub(super) struct Condition {
    source: String,
    program: Arc<Program>,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.source).finish()
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Condition {
    /// Reads an expression; the fault goes on after the name of the field.
    pub(super) fn parse(source: &str) -> Result<Self, String> {
        if source.len() > LENGTH_MAX {
            return Err(format!("is longer than {LENGTH_MAX} bytes: shorten it"));
        }
        if nesting(source) > NESTING_MAX {
            return Err(format!("is nested deeper than {NESTING_MAX} levels: simplify it"));
        }
        let program = Program::compile(source).map_err(|error| {
            format!("is no CEL expression: {}: write one like value < 0.01", one_line(&error.to_string()))
        })?;
        if loops(&program.expression().expr) {
            return Err("has a loop (all, exists, map or filter): value is one number, compare it".to_owned());
        }
        let references = program.references();
        let mut unknown: Vec<&str> = references.variables().into_iter().filter(|name| *name != "value").collect();
        unknown.sort_unstable();
        if !unknown.is_empty() {
            return Err(format!("has unknown name {}: there is only value", unknown.join(", ")));
        }
        if !references.has_variable("value") {
            return Err("does not look at value: write one like value < 0.01".to_owned());
        }
        let condition = Self { source: source.to_owned(), program: Arc::new(program) };
        condition.rehearse()?;
        Ok(condition)
    }

    /// Tries the expression. What fails for some numbers only, like a division by zero, may stay; what fails by its types may not.
    fn rehearse(&self) -> Result<(), String> {
        let mut fault = None;
        let mut answered = false;
        for sample in SAMPLES {
            match self.execute(sample) {
                Ok(Value::Bool(_)) => answered = true,
                Ok(_) => return Err("is not true or false: compare value, like value < 0.01".to_owned()),
                Err(
                    error @ (ExecutionError::DivisionByZero(_)
                    | ExecutionError::RemainderByZero(_)
                    | ExecutionError::Overflow(..)
                    | ExecutionError::FunctionError { .. }),
                ) => fault = Some(error),
                Err(error) => {
                    return Err(format!(
                        "cannot be evaluated: {}: value is a double, write numbers like 100.0",
                        one_line(&error.to_string())
                    ));
                }
            }
        }
        match fault {
            Some(error) if !answered => {
                Err(format!("cannot be evaluated: {}: simplify it", one_line(&error.to_string())))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the value is a success; otherwise why that cannot be said.
    pub(super) fn holds(&self, value: f64) -> Result<bool, String> {
        match self.execute(value) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("the condition is not true or false".to_owned()),
            Err(error) => Err(format!("the condition cannot be evaluated: {}", one_line(&error.to_string()))),
        }
    }

    fn execute(&self, value: f64) -> Result<Value, ExecutionError> {
        let mut context = Context::default();
        context.add_variable_from_value("value", value);
        self.program.execute(&context)
    }
}

/// How deep the parser would descend at most: brackets and conditional operators.
fn nesting(source: &str) -> usize {
    let (mut depth, mut deepest, mut conditionals) = (0usize, 0usize, 0usize);
    for character in source.chars() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '?' => conditionals += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest + conditionals
}

/// Whether an expression has a loop: nested ones take time beyond all bounds.
fn loops(expression: &Expr) -> bool {
    match expression {
        Expr::Comprehension(_) => true,
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => false,
        Expr::Call(call) => {
            call.target.iter().any(|target| loops(&target.expr))
                || call.args.iter().any(|argument| loops(&argument.expr))
        }
        Expr::List(list) => list.elements.iter().any(|element| loops(&element.expr)),
        Expr::Select(select) => loops(&select.operand.expr),
        Expr::Map(map) => map.entries.iter().any(|entry| entry_loops(&entry.expr)),
        Expr::Struct(structure) => structure.entries.iter().any(|entry| entry_loops(&entry.expr)),
    }
}

fn entry_loops(entry: &EntryExpr) -> bool {
    match entry {
        EntryExpr::StructField(field) => loops(&field.value.expr),
        EntryExpr::MapEntry(entry) => loops(&entry.key.expr) || loops(&entry.value.expr),
    }
}

/// Errors of the parser span lines and draw arrows; a status has one line.
fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(200).collect()
}
