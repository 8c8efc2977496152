//! The product comes, changes and goes: from the chart and by kustomize, with releases at rest and in flight.

mod install;
mod leave;
mod uninstall;
mod upgrade;

pub use install::{by_kustomize, in_another_namespace, installed, installed_before_1_36, some_namespaces_only};
pub use leave::{left_before_1_36, left_for_good, without_the_operator};
pub use uninstall::{uninstalled_at_rest, uninstalled_midway};
pub use upgrade::upgraded_in_flight;

/// Two steps with a pause between them that somebody has to end.
const STEPS: &str = "{setWeight: 40}, {pause: {}}, {setWeight: 80}";
