//! A story: a namespace of its own, people with their roles, and a Release to look at.

use anyhow::{Context, Result, ensure};
use kube::Api;
use lockkeeper_api::decision::{Decision, Subject, Verdict};
use lockkeeper_api::release::{Phase, Release, ReleaseStatus};
use lockkeeper_e2e::{Cluster, User, wait};

use super::decisions::decision;
use super::stage::OWN_OPERATOR;
use super::{LIMIT, Stage};

/// Each in a namespace of its own.
pub struct Story<'a> {
    pub stage: &'a Stage,
    pub namespace: String,
}

impl<'a> Story<'a> {
    /// Sre are on call and approve, the change board approves, releasers release; all may look.
    pub async fn begin(stage: &'a Stage, name: &str) -> Result<Story<'a>> {
        let story = Story { stage, namespace: name.replace('_', "-") };
        stage.cluster.create_namespace(&story.namespace).await?;
        story.apply(include_str!("people.yaml")).await?;
        Ok(story)
    }

    pub fn cluster(&self) -> &Cluster {
        &self.stage.cluster
    }

    /// Applies with NAMESPACE replaced, server-side and forced, as a Git sync of the admin's.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.cluster().apply(&yaml.replace("NAMESPACE", &self.namespace)).await
    }

    pub async fn kubectl(&self, user: User, arguments: &[&str]) -> Result<String> {
        self.cluster().kubectl(user, ["-n", &self.namespace].iter().chain(arguments)).await
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.cluster().client(User::Admin), &self.namespace)
    }

    /// Creates or changes the Release `web` with this spec.
    pub async fn release(&self, spec: &str) -> Result<()> {
        self.apply(&release_yaml("{}", spec)).await
    }

    /// The same, for the story's own operators.
    pub async fn own_release(&self, spec: &str) -> Result<()> {
        self.apply(&release_yaml(&format!("{{{OWN_OPERATOR}: NAMESPACE}}"), spec)).await
    }

    /// Waits until the status of `web` is as `condition` wants it; for one of an older spec it is not asked.
    pub async fn await_status(&self, what: &str, condition: impl Fn(&ReleaseStatus) -> bool) -> Result<ReleaseStatus> {
        let found = wait::object(&self.api::<Release>(), "web", what, LIMIT, |release| {
            release.is_some_and(|release| current(release).is_some_and(&condition))
        })
        .await?;
        found.and_then(|release| release.status).context("the Release has no status")
    }

    pub async fn await_phase(&self, phase: Phase) -> Result<ReleaseStatus> {
        self.await_status(&format!("be {phase}"), |status| status.phase == phase).await
    }

    /// Waits until this version is the stable one, nothing is in flight and nothing of ours is left to give back.
    pub async fn await_rest(&self, version: &str) -> Result<ReleaseStatus> {
        let found = wait::object(&self.api::<Release>(), "web", &format!("rest at {version}"), LIMIT, |release| {
            release.is_some_and(|release| {
                let at_rest = release.metadata.finalizers.as_ref().is_none_or(Vec::is_empty);
                at_rest
                    && current(release).is_some_and(|status| {
                        status.phase == Phase::Stable && status.stable.as_ref().is_some_and(|s| s.version == version)
                    })
            })
        })
        .await?;
        found.and_then(|release| release.status).context("the Release has no status")
    }

    /// Waits until the release pauses at this weight and the gateway has it.
    pub async fn await_confirmed(&self, weight: u8) -> Result<ReleaseStatus> {
        self.await_status(&format!("pause at {weight} %"), |status| {
            status.phase == Phase::Paused
                && status.weight.is_some_and(|now| now.desired == weight && now.confirmed == weight)
        })
        .await
    }

    /// Approves gate `go`, for which the release waits before its start, and waits until it pauses at this weight.
    pub async fn approved_to(&self, weight: u8) -> Result<ReleaseStatus> {
        self.await_phase(Phase::Waiting).await?;
        self.decide(User::Alice, Verdict::Approve, Some("go")).await?;
        self.await_confirmed(weight).await
    }

    /// Waits until nothing is in flight: everything has been given back.
    pub async fn await_given_back(&self) -> Result<()> {
        wait::object(&self.api::<Release>(), "web", "have given everything back", LIMIT, |release| {
            release.is_some_and(|release| release.metadata.finalizers.as_ref().is_none_or(Vec::is_empty))
        })
        .await?;
        Ok(())
    }

    pub async fn status(&self) -> Result<ReleaseStatus> {
        self.api::<Release>().get("web").await?.status.context("the Release has no status")
    }

    /// Creates a Decision about the candidate, or about the stable version where there is none.
    pub async fn decide(&self, user: User, verdict: Verdict, gate: Option<&str>) -> Result<Decision> {
        let status = self.status().await?;
        let revision = match verdict.subject() {
            Subject::Candidate => status.candidate,
            Subject::Stable => status.stable,
            Subject::Blocked => return self.decide_about(user, verdict, gate, &last_blocked(&status)?).await,
        };
        let revision = revision.context("there is no version to decide about")?.revision;
        self.decide_about(user, verdict, gate, &revision).await
    }

    pub async fn decide_about(
        &self,
        user: User,
        verdict: Verdict,
        gate: Option<&str>,
        revision: &str,
    ) -> Result<Decision> {
        Ok(self.propose(self.cluster().client(user), decision(user, verdict, gate, revision)).await?)
    }
}

/// The status, if it speaks of the spec as it is now.
fn current(release: &Release) -> Option<&ReleaseStatus> {
    let status = release.status.as_ref()?;
    (status.observed_generation == release.metadata.generation).then_some(status)
}

fn last_blocked(status: &ReleaseStatus) -> Result<String> {
    Ok(status.blocked.last().context("no version is blocked")?.revision.clone())
}

fn release_yaml(labels: &str, spec: &str) -> String {
    let spec: String = spec.trim_matches('\n').lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: lockkeeper.dev/v1alpha1\nkind: Release\nmetadata: {{name: web, namespace: NAMESPACE, labels: {labels}}}\nspec:\n{spec}"
    )
}

/// Whether a condition of the status has this value.
pub fn condition(status: &ReleaseStatus, kind: &str, value: &str) -> Result<()> {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind);
    let found = found.map_or("absent", |condition| condition.status.as_str());
    ensure!(found == value, "condition {kind} is {found}, not {value}");
    Ok(())
}
