//! Which program this is. It says nothing of when, where and by whom it was built, so that equal sources give equal programs.

use std::sync::LazyLock;

/// The version of the workspace, like `1.4.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The Git commit that it was built from, as `make release` names it; `unknown` in any other build.
pub const COMMIT: &str = match option_env!("LOCKKEEPER_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Both, for people: `1.4.0 (commit 7581a503c1f2)`.
pub static VERSION_AND_COMMIT: LazyLock<String> = LazyLock::new(|| format!("{VERSION} (commit {COMMIT})"));
