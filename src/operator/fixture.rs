//! An operator in a test: everything real but the API server, the provider and chance.

use jiff::Timestamp;
use kube::{Client, core::Selector};
use lockkeeper_engine::plan::Setting;

use crate::{
    context::{Clock, Parts},
    leader::Leadership,
    metrics::Metrics,
    policies::{self, PolicyMode, PolicySettings},
    server::Readiness,
    settings::WatchNamespaces,
};

/// The operator's own namespace.
pub const PLATFORM: &str = "lockkeeper-system";

/// An operator that always leads, handles every Release, and has nobody to ask for numbers.
pub fn parts(client: Client) -> Parts {
    Parts {
        client,
        clock: Clock::new(Timestamp::now),
        leadership: Leadership::always(),
        setting: Setting {
            operator_namespace: PLATFORM.into(),
            settle: jiff::SignedDuration::ZERO,
            paused_at_rest: false,
            approving_service_accounts: Vec::new(),
        },
        namespaces: WatchNamespaces::All,
        releases: Selector::default(),
        readiness: Readiness::default(),
        metrics: Metrics::new(),
        provider: None,
        random: Box::new(|| 1.0),
        identity: "test".into(),
        policies: policies::render_each(&PolicySettings {
            operator_user: "operator".into(),
            approving_service_accounts: Vec::new(),
            mode: PolicyMode::Mutating,
        })
        .unwrap(),
    }
}
