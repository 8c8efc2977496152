//! What every test stands on: kinds, roles and policies in force, and a namespace with a Deployment, a Service and a Release.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lockkeeper_e2e::{Cluster, User};
use lockkeeper_operator::policies::{Guard, PolicyMode, PolicySettings, guard, render};
use serde_json::Value;
use tokio::time::sleep;

/// For a policy to come into force, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The user that the chart's files name.
pub const OPERATOR: &str = "system:serviceaccount:lockkeeper-system:lockkeeper";

/// Deployment, Service and Release, in this order.
pub const APP: &str = include_str!("app.yaml");

/// With one service account that may decide.
pub fn settings(mode: PolicyMode) -> Result<PolicySettings> {
    let approving_service_accounts = vec!["robots:approver".parse()?];
    Ok(PolicySettings { approving_service_accounts, ..as_shipped(mode) })
}

fn as_shipped(mode: PolicyMode) -> PolicySettings {
    PolicySettings { operator_user: OPERATOR.to_owned(), approving_service_accounts: Vec::new(), mode }
}

/// Installs kinds, roles and policies as users do, but no operator; sees that the operator would find them intact, lets one service account
/// decide, and waits until each policy is in force.
pub async fn install(cluster: &Cluster, mode: PolicyMode) -> Result<()> {
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/lockkeeper/files");
    let own = match mode {
        PolicyMode::Mutating => "policies/mutating",
        PolicyMode::Validating => "policies/validating",
    };
    for directory in ["crds", "rbac", "policies/common", own] {
        let directory = format!("{files}/{directory}");
        cluster.kubectl(User::Admin, ["apply", "--warnings-as-errors", "-k", &directory]).await?;
    }
    for crd in lockkeeper_api::crds() {
        let name = format!("crd/{}", crd.metadata.name.context("no name")?);
        cluster.kubectl(User::Admin, ["wait", "--for=condition=Established", "--timeout=60s", &name]).await?;
    }
    let shipped = guard(&super::operator::live(cluster, mode).await?, &render(&as_shipped(mode))?);
    ensure!(shipped == Guard::Intact, "{own}: {shipped:?}");
    cluster.create_namespace("robots").await?;
    let place = Place::install(cluster, "probe").await?;
    for object in render(&settings(mode)?)? {
        cluster.apply(&serde_json::to_string(&object)?).await?;
    }
    place.policies_are_in_force(mode).await
}

/// A namespace of its own, in which each person has their role.
pub struct Place<'a> {
    pub cluster: &'a Cluster,
    pub namespace: &'a str,
}

impl<'a> Place<'a> {
    /// Erin edits and releases, Alice is on call, Carol approves, Bob governs; Mallory only edits.
    pub async fn install(cluster: &'a Cluster, namespace: &'a str) -> Result<Place<'a>> {
        cluster.create_namespace(namespace).await?;
        let place = Place { cluster, namespace };
        for (role, user) in [
            ("edit", User::Erin),
            ("edit", User::Mallory),
            ("edit", User::Bob),
            ("lockkeeper-releaser", User::Erin),
            ("lockkeeper-oncall", User::Alice),
            ("lockkeeper-approver", User::Carol),
            ("lockkeeper-governor", User::Bob),
        ] {
            let name = format!("{role}-{}", user.name());
            let (role, user) = (format!("--clusterrole={role}"), format!("--user={}", user.name()));
            place.kubectl(User::Admin, &["create", "rolebinding", &name, &role, &user]).await?;
        }
        place.apply_as(place.operator().await?, APP).await?;
        Ok(place)
    }

    pub async fn operator(&self) -> Result<PathBuf> {
        self.cluster.service_account("lockkeeper-system", "lockkeeper").await
    }

    pub async fn kubectl(&self, user: User, arguments: &[&str]) -> Result<String> {
        self.run(self.cluster.kubeconfig(user), arguments, "").await
    }

    pub async fn run(&self, kubeconfig: PathBuf, arguments: &[&str], input: &str) -> Result<String> {
        let all = [&["-n", self.namespace], arguments].concat();
        self.cluster.kubectl_with_input(&kubeconfig, all, input).await
    }

    /// As admin, but in the operator's name: what the operator has done before the test begins.
    async fn apply_as(&self, _operator: PathBuf, yaml: &str) -> Result<()> {
        let arguments = ["--as", OPERATOR, "--as-group", "system:masters", "apply", "--server-side", "-f", "-"];
        self.run(self.cluster.kubeconfig(User::Admin), &arguments, yaml).await.map(drop)
    }

    /// The operator marks an object.
    pub async fn mark(&self, object: &str, patch: &str) -> Result<()> {
        let patch = ["--as", OPERATOR, "--as-group", "system:masters", "patch", object, "--type=merge", "-p", patch];
        self.kubectl(User::Admin, &patch).await.map(drop)
    }

    /// The operator holds `web` for a release of Erin's.
    pub async fn hold(&self) -> Result<()> {
        self.mark(
            "deployment/web",
            r#"{"metadata":{"annotations":{"lockkeeper.dev/hold":"r1","lockkeeper.dev/paused-by":"lockkeeper",
                "lockkeeper.dev/requested-by":"erin"}},"spec":{"paused":true}}"#,
        )
        .await
    }

    pub async fn get(&self, object: &str) -> Result<Seen> {
        let text = self.kubectl(User::Admin, &["get", object, "-o", "json"]).await?;
        Ok(Seen(serde_json::from_str(&text)?))
    }

    pub async fn patch(&self, user: User, object: &str, patch: &str) -> Result<String> {
        self.kubectl(user, &["patch", object, "--type=merge", "-p", patch]).await
    }

    /// Server-side apply with force, as a Git sync does.
    pub async fn sync(&self, user: User, yaml: &str) -> Result<String> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager=sync", "-f", "-"];
        self.run(self.cluster.kubeconfig(user), &arguments, yaml).await
    }

    /// Replaces an object whole, whatever it was.
    pub async fn replace(&self, user: User, yaml: &str) -> Result<String> {
        self.run(self.cluster.kubeconfig(user), &["replace", "-f", "-"], yaml).await
    }

    async fn policies_are_in_force(&self, mode: PolicyMode) -> Result<()> {
        let forged =
            r#"{"metadata":{"annotations":{"lockkeeper.dev/requested-by":"carol","lockkeeper.dev/pin":"abc"}}}"#;
        for object in ["deployment/web", "release/web", "service/web"] {
            let arguments = ["patch", object, "--type=merge", "--dry-run=server", "-o", "json", "-p", forged];
            self.until(object, &arguments, |answer| match mode {
                // A Service has no author, the others have no pin.
                PolicyMode::Mutating if object == "service/web" => {
                    answer.as_ref().is_ok_and(|text| !text.contains("lockkeeper.dev/pin"))
                }
                PolicyMode::Mutating => answer.as_ref().is_ok_and(|text| !text.contains("\"carol\"")),
                // Nothing looks at Services.
                PolicyMode::Validating => answer.is_err() || object == "service/web",
            })
            .await?;
        }
        let govern =
            ["--as=nobody", "--as-group=e2e", "patch", "release/web", "--type=merge", "--dry-run=server", "-p"];
        // Somebody who may patch, but not govern.
        self.kubectl(
            User::Admin,
            &["create", "rolebinding", "nobody", "--clusterrole=lockkeeper-releaser", "--user=nobody"],
        )
        .await?;
        let patch = [&govern[..], &[r#"{"spec":{"gates":{"requester":"x"}}}"#]].concat();
        self.until("lockkeeper-govern", &patch, |answer| {
            answer.as_ref().is_err_and(|error| error.to_string().contains("lockkeeper-govern"))
        })
        .await?;
        let wrong = decision("mallory", "Abort", "");
        let deadline = Instant::now() + LIMIT;
        while self.decide(self.cluster.kubeconfig(User::Admin), &wrong, &["--dry-run=server"]).await.is_ok() {
            ensure!(Instant::now() < deadline, "waited for lockkeeper-decision to come into force");
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// A policy has no status that says when it is in force: it can only be tried.
    async fn until(&self, what: &str, arguments: &[&str], done: impl Fn(&Result<String>) -> bool) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = self.kubectl(User::Admin, arguments).await;
            if done(&answer) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("waited for the policy of {what} to come into force; last answer: {answer:?}");
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Creates a Decision.
    pub async fn decide(&self, kubeconfig: PathBuf, decision: &str, more: &[&str]) -> Result<String> {
        self.run(kubeconfig, &[&["create", "-f", "-"], more].concat(), decision).await
    }
}

/// A Decision; `extra` are more fields of the spec, each with a comma before it.
pub fn decision(author: &str, verdict: &str, extra: &str) -> String {
    format!(
        r#"{{"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Decision", "metadata": {{"generateName": "d-"}},
        "spec": {{"release": "web", "revision": "r1", "verdict": "{verdict}", "by": {{"username": "{author}"}}{extra}}}}}"#
    )
}

/// An object as the API server has it.
pub struct Seen(pub Value);

impl Seen {
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.0["metadata"]["annotations"][format!("lockkeeper.dev/{name}")].as_str()
    }

    pub fn paused(&self) -> bool {
        self.0["spec"]["paused"] == true
    }
}

/// Wants a refusal with all of these words.
pub fn refused(answer: Result<String>, words: &[&str]) -> Result<()> {
    match answer {
        Ok(text) => bail!("it was admitted: {text}"),
        Err(error) => {
            let told = error.to_string();
            words.iter().try_for_each(|word| {
                ensure!(told.contains(word), "'{word}' is not in: {told}");
                Ok(())
            })
        }
    }
}
