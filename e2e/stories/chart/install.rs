//! An installation does its work with the rights, the arguments and the policies of its manifests.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use lockkeeper_api::decision::Verdict;
use lockkeeper_e2e::{MutatingPolicies, SYSTEM_NAMESPACE, User, wait};

use super::{Chart, STEPS, Values, commands, updated};
use crate::harness::{GATE_AND_BAKE, LIMIT, Story, bake, none_failed, with_images};

/// The first release is promoted under traffic, with a gate that a person opens.
async fn promotes(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    story.apply(&bake("2s")).await?;
    let traffic = app.traffic();
    story.release(&(with_images("2.0.0", STEPS) + GATE_AND_BAKE)).await?;
    story.approved_to(40).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await
}

pub async fn installed(story: &Story<'_>) -> Result<()> {
    let chart = Chart::prepare(story.cluster(), Values::default()).await?;
    chart.install().await?;
    let pods = chart.pods().await?;
    ensure!(pods.len() == 2, "two pods were to run: {pods:?}");
    wait::answer("one pod to lead", LIMIT, async || {
        let leaders = chart.leaders().await?;
        ensure!(leaders.len() == 1, "{leaders:?} lead");
        Ok(())
    })
    .await?;
    let budgets = Api::<PodDisruptionBudget>::namespaced(story.cluster().client(User::Admin), SYSTEM_NAMESPACE);
    wait::object(&budgets, "lockkeeper", "allow one pod to go", LIMIT, |budget| {
        let status = budget.and_then(|budget| budget.status.as_ref());
        status.is_some_and(|status| (status.expected_pods, status.disruptions_allowed) == (Some(2), Some(1)))
    })
    .await?;
    promotes(story).await?;
    chart.was_refused_nothing().await?;
    fails_over(story, &chart).await
}

/// Every series that an alert asks for is there during a release, or tells of a fault that has not been.
async fn alerts_have_series(chart: &Chart<'_>) -> Result<()> {
    let rules = include_str!("../../../charts/lockkeeper/files/alerts/rules.yaml");
    let [leader] = &chart.leaders().await?[..] else { bail!("not exactly one pod leads") };
    let pods = chart.pods().await?;
    let page = pods.iter().find(|pod| &pod.name == leader).context("it is gone")?.page("/metrics").await?;
    let expressions = rules.split("expr:").skip(1).filter_map(|rule| rule.split("labels: {severity").next());
    for word in expressions.flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '_')) {
        let of_a_fault = ["lockkeeper_writes_throttled_total", "lockkeeper_reconcile_errors_total"].contains(&word);
        let there = page.lines().any(|line| line.strip_prefix(word).is_some_and(|rest| rest.starts_with(['{', ' '])));
        ensure!(!word.starts_with("lockkeeper_") || of_a_fault || there, "{leader} has no series {word}:\n{page}");
    }
    Ok(())
}

/// The leading pod is deleted; the other one leads, and the next release goes on.
async fn fails_over(story: &Story<'_>, chart: &Chart<'_>) -> Result<()> {
    let [first] = &chart.leaders().await?[..] else { bail!("not exactly one pod leads") };
    story.release(&(with_images("3.0.0", STEPS) + "rollbackPolicy: bake\n")).await?;
    story.await_confirmed(40).await?;
    alerts_have_series(chart).await?;
    story.cluster().kubectl(User::Admin, ["delete", "pod", first, "-n", SYSTEM_NAMESPACE]).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("3.0.0").await?;
    let leaders = chart.leaders().await?;
    ensure!(leaders.len() == 1 && &leaders[0] != first, "{first} was deleted, {leaders:?} lead");
    Ok(())
}

/// The policies exempt whoever the operator is, and it finds them intact.
pub async fn in_another_namespace(story: &Story<'_>) -> Result<()> {
    let settings = ["serviceAccount.name=releases", "approvingServiceAccounts={robots:approver}"];
    let settings = settings.map(str::to_owned).to_vec();
    let chart = Chart::prepare(story.cluster(), Values { namespace: "platform", settings, ..Values::default() });
    let chart = chart.await?;
    chart.install().await?;
    promotes(story).await?;
    chart.was_refused_nothing().await
}

/// Rights in the namespaces that are named, and nowhere else.
pub async fn some_namespaces_only(story: &Story<'_>) -> Result<()> {
    let settings = vec![format!("watchNamespaces={{{}}}", story.namespace)];
    let chart = Chart::prepare(story.cluster(), Values { settings, ..Values::default() }).await?;
    chart.install().await?;
    promotes(story).await?;
    chart.was_refused_nothing().await?;
    let account = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:lockkeeper");
    for (namespace, expected) in [(story.namespace.as_str(), true), (SYSTEM_NAMESPACE, true), ("default", false)] {
        let arguments = ["auth", "can-i", "patch", "deployments.apps", "--as", &account, "-n", namespace];
        // The answer no is also an exit code.
        let allowed = story.cluster().kubectl(User::Admin, arguments).await.is_ok();
        ensure!(allowed == expected, "in {namespace} the operator may patch Deployments: {allowed}");
    }
    Ok(())
}

/// The same without Helm.
pub async fn by_kustomize(story: &Story<'_>) -> Result<()> {
    let chart = Chart::prepare(story.cluster(), Values::default()).await?;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/default").display().to_string();
    story.cluster().kubectl(User::Admin, ["apply", "--server-side", "-k", &directory]).await?;
    let rollout = ["rollout", "status", "deployment/lockkeeper", "-n", SYSTEM_NAMESPACE, "--timeout=2m"];
    story.cluster().kubectl(User::Admin, rollout).await?;
    chart.in_force().await?;
    let app = updated(story).await?;
    chart.was_refused_nothing().await?;
    // Away as the README says: the policies first.
    let [policies, ..] = &commands(story, "Without the operator")?[..] else { bail!("the README has no commands") };
    let delete = format!("kubectl delete -k {directory} --ignore-not-found --timeout=60s");
    for script in ["kubectl delete releases.lockkeeper.dev --all --all-namespaces", policies, &delete] {
        story.cluster().bash(script).await?;
    }
    app.set_version("3.0.0").await?;
    app.available().await
}

pub async fn installed_before_1_36(story: &Story<'_>) -> Result<()> {
    let values = Values { policies: MutatingPolicies::Absent, ..Values::default() };
    let chart = Chart::prepare(story.cluster(), values).await?;
    chart.install().await?;
    let app = updated(story).await?;
    chart.was_refused_nothing().await?;
    // Gone for a while: at rest it is paused here, and a person may resume it.
    chart.uninstall().await?;
    ensure!(app.paused().await?, "it is not paused at rest");
    story.kubectl(User::Admin, &["rollout", "resume", "deployment/web"]).await?;
    app.set_version("3.0.0").await?;
    app.available().await
}
