//! Decisions as people write them, also such as are refused.

use std::fmt::Display;

use anyhow::{Result, bail, ensure};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use lockkeeper_api::decision::{Author, Decision, DecisionSpec, Verdict};
use lockkeeper_e2e::User;

use super::Story;

/// What this person decides about `web`, in their own name and with their group.
pub fn decision(user: User, verdict: Verdict, gate: Option<&str>, revision: &str) -> DecisionSpec {
    DecisionSpec {
        release: "web".to_owned(),
        revision: revision.to_owned(),
        verdict,
        gate: gate.map(str::to_owned),
        reason: Some("the story wants it".to_owned()),
        expires_after: None,
        by: Author { username: user.name().to_owned(), groups: user.group().into_iter().map(str::to_owned).collect() },
    }
}

impl Story<'_> {
    /// Asks the API server for this Decision, as whoever the client is.
    pub async fn propose(&self, client: Client, spec: DecisionSpec) -> kube::Result<Decision> {
        let metadata = ObjectMeta { generate_name: Some("d-".to_owned()), ..ObjectMeta::default() };
        let decisions: Api<Decision> = Api::namespaced(client, &self.namespace);
        decisions.create(&PostParams::default(), &Decision { metadata, spec }).await
    }
}

/// The API server has refused it, with these words.
pub fn refused<T, E: Display>(result: Result<T, E>, words: &str) -> Result<()> {
    let Err(error) = result else { bail!("nobody refused what should be refused with: {words}") };
    let text = format!("{error:#}");
    ensure!(text.contains(words), "it was refused, but not with {words:?}: {text}");
    Ok(())
}
