//! Whole releases, with the operator's own code in both worlds: as a process, and in the simulator.

use anyhow::Result;
use lockkeeper_e2e::User;
use lockkeeper_simulator::api::Kind::{Decision, Deployment, HTTPRoute, Release, RollbackPolicy, Service};
use serde_json::{Value, json};

use super::objects::{deployment, release, route, service, version, with};
use crate::play::{Ask, Form, Play};
use crate::world::OPERATED;

/// An application that runs in version 1.
async fn application(play: &mut Play<'_>, replicas: u32) -> Result<()> {
    play.demand(Ask::create(Deployment, deployment("1", replicas))).await?;
    play.demand(Ask::create(Service, service("web"))).await?;
    play.demand(Ask::create(HTTPRoute, route("web", &play.namespace))).await?;
    play.settle().await?;
    play.follow_course().await
}

/// A Release that the operator looks at.
async fn operated(play: &mut Play<'_>, steps: Value) -> Result<()> {
    let labels = json!({OPERATED: "yes"});
    play.demand(Ask::create(Release, with(release(steps), "/metadata/labels", labels))).await?;
    play.settle().await
}

async fn set_version(play: &mut Play<'_>, to: &str) -> Result<()> {
    play.demand(Ask::patch(Deployment, "web", Form::Strategic, version(to))).await?;
    play.settle().await
}

/// A Decision of Alice's about the version on its way.
async fn decide(play: &mut Play<'_>, verdict: &str) -> Result<()> {
    let status = play.peek(Release, "web").await?["status"].clone();
    let revision = &status["candidate"]["revision"];
    play.act_as(User::Alice);
    let decision = json!({"metadata": {"name": verdict.to_lowercase()}, "spec": {"release": "web", "revision": revision,
        "verdict": verdict, "by": {"username": "alice", "groups": ["sre"]}}});
    play.demand(Ask::create(Decision, decision)).await?;
    play.act_as(User::Admin);
    play.settle().await
}

/// A running Deployment is taken over, and a good version becomes the stable one by steps.
pub async fn good(play: &mut Play<'_>) -> Result<()> {
    application(play, 3).await?;
    operated(play, json!([{"setWeight": 34}, {"pause": {}}, {"setWeight": 100}])).await?;
    set_version(play, "2").await?;
    decide(play, "Resume").await?;
    play.tell_course().await
}

/// A version that crashes goes back by itself.
pub async fn rolled_back(play: &mut Play<'_>) -> Result<()> {
    application(play, 2).await?;
    operated(play, json!([{"setWeight": 50}, {"pause": {}}])).await?;
    set_version(play, "2-crash").await?;
    set_version(play, "1").await?;
    play.tell_course().await
}

/// Somebody aborts half-way.
pub async fn aborted(play: &mut Play<'_>) -> Result<()> {
    application(play, 2).await?;
    operated(play, json!([{"setWeight": 50}, {"pause": {}}])).await?;
    set_version(play, "2").await?;
    decide(play, "Abort").await?;
    play.tell_course().await
}

/// The Release carries the version; an autoscaler acts half-way, and the Release is deleted.
pub async fn carried(play: &mut Play<'_>) -> Result<()> {
    application(play, 2).await?;
    let labels = json!({OPERATED: "yes"});
    let web = with(release(json!([{"setWeight": 50}, {"pause": {}}])), "/metadata/labels", labels);
    play.demand(Ask::create(Release, with(web, "/spec/workloads/0/images", json!({"app": "demo:2"})))).await?;
    play.settle().await?;
    let scale = Ask::patch(Deployment, "web", Form::Merge, json!({"spec": {"replicas": 4}})).of("scale");
    play.demand(scale).await?;
    play.settle().await?;
    play.delete(Release, "web").await?;
    play.settle().await?;
    play.tell_course().await
}

/// Many steps, none of which waits for anybody.
pub async fn stepped(play: &mut Play<'_>) -> Result<()> {
    application(play, 4).await?;
    operated(play, json!([{"setWeight": 10}, {"setWeight": 25}, {"setWeight": 50}, {"setWeight": 75}])).await?;
    set_version(play, "2").await?;
    play.tell_course().await
}

/// A version that is never ready: no weight, and back when its time is over. Then a good one, over the one that was given up.
pub async fn never_ready(play: &mut Play<'_>) -> Result<()> {
    application(play, 2).await?;
    let labels = json!({OPERATED: "yes"});
    let web = with(release(json!([{"setWeight": 50}])), "/metadata/labels", labels);
    play.demand(Ask::create(Release, with(web, "/spec/progressDeadline", json!("10s")))).await?;
    play.settle().await?;
    set_version(play, "2-neverready").await?;
    // However slow the machine is, the good one has the time.
    let patience = json!({"spec": {"progressDeadline": "10m"}});
    play.demand(Ask::patch(Release, "web", Form::Merge, patience)).await?;
    set_version(play, "3").await?;
    play.tell_course().await
}

/// The Gateway of the route is not there: no weight is confirmed, and when its time is over the version goes back.
pub async fn never_accepted(play: &mut Play<'_>) -> Result<()> {
    without_gateway(play, "20s").await?;
    play.settle().await?;
    named(play, "gw").await?;
    play.tell_course().await
}

/// The same, but there is one before the time is over.
pub async fn accepted_late(play: &mut Play<'_>) -> Result<()> {
    without_gateway(play, "10m").await?;
    play.settle().await?;
    named(play, "gw").await?;
    play.tell_course().await
}

/// Version 2 is on its way, behind a route that nobody accepts any more.
async fn without_gateway(play: &mut Play<'_>, deadline: &str) -> Result<()> {
    application(play, 2).await?;
    let web = with(release(json!([{"setWeight": 50}])), "/metadata/labels", json!({OPERATED: "yes"}));
    play.demand(Ask::create(Release, with(web, "/spec/progressDeadline", json!(deadline)))).await?;
    play.settle().await?;
    named(play, "nobody").await?;
    play.demand(Ask::patch(Deployment, "web", Form::Strategic, version("2"))).await?;
    Ok(())
}

/// The route names this Gateway.
async fn named(play: &mut Play<'_>, gateway: &str) -> Result<()> {
    let parents = json!([{"name": gateway, "namespace": "gateway"}]);
    play.demand(Ask::patch(HTTPRoute, "web", Form::Merge, json!({"spec": {"parentRefs": parents}}))).await?;
    play.settle().await
}

/// The requests of a version fail, and the metrics source says so: it goes back. (It is asked late, because the real one has to find
/// the pods first.)
pub async fn judged(play: &mut Play<'_>) -> Result<()> {
    application(play, 2).await?;
    let scraped = json!({"prometheus.io/scrape": "true"});
    play.demand(Ask::patch(
        Deployment,
        "web",
        Form::Merge,
        json!({"spec": {"template": {"metadata": {"annotations": scraped}}}}),
    ))
    .await?;
    play.settle().await?;
    let failed = r#"sum(rate(http_requests_total{namespace="{{ namespace }}",pod=~"{{ candidate.pods }}",code=~"5.."}[10s]))
        / sum(rate(http_requests_total{namespace="{{ namespace }}",pod=~"{{ candidate.pods }}"}[10s]))"#;
    let check = json!({"name": "errors", "query": failed, "max": 0.01, "interval": "1s", "initialDelay": "20s", "consecutiveErrorLimit": 1000});
    play.demand(Ask::create(RollbackPolicy, json!({"metadata": {"name": "slo"}, "spec": {"checks": [check]}}))).await?;
    play.send_requests()?;
    operated_by_policy(play, json!([{"setWeight": 50}, {"pause": {}}])).await?;
    play.demand(Ask::patch(Deployment, "web", Form::Strategic, version("2-errors50"))).await?;
    play.until_phase("RolledBack").await?;
    play.settle().await?;
    play.tell_course().await
}

/// What an answer leads to: a number within its limits.
pub async fn answered(play: &mut Play<'_>) -> Result<()> {
    asked(play, &["vector(1)", "vector(0)"]).await?;
    play.tell_course().await
}

/// One beyond them; and then one within, over what has gone back.
pub async fn answered_badly(play: &mut Play<'_>) -> Result<()> {
    asked(play, &["vector(2)", "vector(1)"]).await?;
    play.tell_course().await
}

/// Nothing; and then what is no number, over what is held.
pub async fn answered_by_nothing(play: &mut Play<'_>) -> Result<()> {
    asked(play, &["nothing_at_all", "vector(0) / vector(0)"]).await?;
    play.tell_course().await
}

/// No finite number; and then one within the limits, of the same version.
pub async fn answered_late(play: &mut Play<'_>) -> Result<()> {
    asked(play, &["vector(1) / vector(0)"]).await?;
    play.demand(Ask::patch(RollbackPolicy, "slo", Form::Merge, question("vector(1)"))).await?;
    play.settle().await?;
    decide(play, "Resume").await?;
    play.tell_course().await
}

fn question(query: &str) -> Value {
    json!({"spec": {"checks": [{"name": "answer", "query": query, "max": 1, "interval": "1s", "consecutiveErrorLimit": 0}]}})
}

/// A version after the other, each judged by the answer to one of these queries.
async fn asked(play: &mut Play<'_>, queries: &[&str]) -> Result<()> {
    application(play, 2).await?;
    play.demand(Ask::create(RollbackPolicy, with(question("vector(1)"), "/metadata/name", json!("slo")))).await?;
    operated_by_policy(play, json!([{"setWeight": 50}, {"analysis": {"policy": "slo", "duration": "2s"}}])).await?;
    for (query, version) in queries.iter().zip(["2", "3"]) {
        play.demand(Ask::patch(RollbackPolicy, "slo", Form::Merge, question(query))).await?;
        set_version(play, version).await?;
    }
    Ok(())
}

async fn operated_by_policy(play: &mut Play<'_>, steps: Value) -> Result<()> {
    let web = with(release(steps), "/metadata/labels", json!({OPERATED: "yes"}));
    play.demand(Ask::create(Release, with(web, "/spec/rollbackPolicy", json!("slo")))).await?;
    play.settle().await
}
