//! Where the two worlds part, told so that a person can read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::play::Step;

/// What differs, step by step; none if nothing does. What differed in the same way before is not told again.
pub fn between(model: &[Step], real: &[Step]) -> Option<String> {
    let mut told = String::new();
    let mut known: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    for (number, pair) in model.iter().zip(real).enumerate() {
        let lines = lines(pair.0, pair.1, &mut known);
        if pair.0.what != pair.1.what || !lines.is_empty() {
            let _ = write!(told, "\n{}. {}\n{lines}", number + 1, pair.0.what);
        }
        if pair.0.what != pair.1.what {
            let _ = writeln!(told, "   but in the real world: {}", pair.1.what);
        }
    }
    if model.len() != real.len() {
        let _ = writeln!(told, "{} steps in the model, {} in the real world", model.len(), real.len());
    }
    (!told.is_empty()).then_some(told)
}

fn lines(model: &Step, real: &Step, known: &mut BTreeMap<String, (Option<String>, Option<String>)>) -> String {
    let mut told = String::new();
    let names: BTreeSet<&String> = model.facts.keys().chain(real.facts.keys()).collect();
    for name in names {
        let pair = (model.facts.get(name).cloned(), real.facts.get(name).cloned());
        if pair.0 == pair.1 {
            known.remove(name);
            continue;
        }
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        if known.get(name) != Some(&pair) {
            let (in_model, in_reality) = (shown(&pair.0), shown(&pair.1));
            let _ = writeln!(told, "   {name}\n      model: {in_model}\n      real:  {in_reality}");
        }
        known.insert(name.clone(), pair);
    }
    told
}
