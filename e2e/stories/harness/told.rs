//! From functions that tell a story to tests of a suite.

use anyhow::{Result, anyhow};

use super::{Stage, Story, shown};

/// Begins a story of this name, with a namespace of its own, and tells it.
pub async fn told(stage: &Stage, name: &str, tell: impl AsyncFnOnce(&Story<'_>) -> Result<()>) -> Result<()> {
    let story = Story::begin(stage, name).await?;
    match tell(&story).await {
        Ok(()) => Ok(()),
        Err(error) => Err(anyhow!("{error:#}\n{}", shown(&story).await)),
    }
}

/// Stories by their paths: `module::function` is the name, after what is given as prefix, and with dashes the namespace.
macro_rules! stories {
    ($prefix:literal; $($module:ident :: $story:ident),* $(,)?) => {
        vec![$(lockkeeper_e2e::Test::new(
            concat!($prefix, stringify!($module), "::", stringify!($story)),
            async |stage: &$crate::harness::Stage| {
                $crate::harness::told(stage, concat!(stringify!($module), "-", stringify!($story)), $module::$story).await
            },
        )),*]
    };
    ($($module:ident :: $story:ident),* $(,)?) => { $crate::harness::stories![""; $($module::$story),*] };
}

pub(crate) use stories;
