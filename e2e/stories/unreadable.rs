//! One object that the operator cannot read, among others.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use lockkeeper_api::release::Phase;
use lockkeeper_e2e::{User, wait};
use serde_json::json;

use crate::harness::{LIMIT, SHARED_OPERATOR, Story, with_images};

fn spec() -> String {
    with_images("2.0.0", "{setWeight: 50}")
}

/// As an older or newer version of the product may have left them.
const BAD: [(&str, &str); 2] = [
    (
        "deploymentwindows.lockkeeper.dev",
        "
apiVersion: lockkeeper.dev/v1alpha1
kind: DeploymentWindow
metadata: {name: bad, namespace: NAMESPACE}
spec: {action: Perhaps, schedule: [{lunar: true}]}
",
    ),
    (
        "releases.lockkeeper.dev",
        "
apiVersion: lockkeeper.dev/v1alpha1
kind: Release
metadata: {name: bad, namespace: NAMESPACE}
spec: {workloads: everything, strategy: {mysterious: {}}}
",
    ),
];

/// Others go on. A window that cannot be read might be a freeze: it holds what it may be about, and says so, until it is
/// mended or gone. An event at each says what is wrong with it.
pub async fn among_good_ones(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.release(&spec().replace("2.0.0", "1.0.0")).await?;
    // The operator leads: only then does it tell people.
    story.await_rest("1.0.0").await?;
    let [window, release] = BAD;
    unchecked(story, release).await?;
    reported(story, "Release").await?;
    story.release(&spec()).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.clone().with_version("2.0.0")).await?;

    unchecked(story, window).await?;
    reported(story, "DeploymentWindow").await?;
    story.release(&spec().replace("2.0.0", "3.0.0")).await?;
    let status = story.await_phase(Phase::Waiting).await?;
    ensure!(status.message.contains("bad") && status.message.contains("cannot be read"), "{}", status.message);
    app.at_rest(&before.clone().with_version("2.0.0")).await?;
    story.kubectl(User::Admin, &["delete", "deploymentwindow/bad", "release/bad"]).await?;
    story.await_rest("3.0.0").await?;
    app.at_rest(&before.with_version("3.0.0")).await
}

/// An operator that finds one at its start, before it leads, tells of it too.
pub async fn found_at_the_start(story: &Story<'_>) -> Result<()> {
    for bad in BAD {
        unchecked(story, bad).await?;
    }
    let operator = story.operator().await?;
    for kind in ["DeploymentWindow", "Release"] {
        let what = format!("have that operator tell of the {kind}");
        wait::list(&story.api::<Event>(), "", &what, LIMIT, |events| {
            events.iter().any(|event| {
                about(event, kind)
                    && event.reason.as_deref() == Some("Unreadable")
                    && by(event).starts_with(&story.namespace)
            })
        })
        .await?;
    }
    story.kubectl(User::Admin, &["delete", "deploymentwindow/bad", "release/bad"]).await?;
    operator.process.kill().await
}

/// Creates an object that the schema of its kind does not allow, while the kind has none for a moment.
async fn unchecked(story: &Story<'_>, (name, object): (&str, &str)) -> Result<()> {
    let kinds: Api<CustomResourceDefinition> = Api::all(story.cluster().client(User::Admin));
    let schema = kinds.get(name).await?.spec.versions.into_iter().next().and_then(|version| version.schema);
    let schema = json!(schema.context("the kind has no schema")?);
    let anything = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let set = async |schema: &serde_json::Value| {
        let patch = json!([{"op": "replace", "path": "/spec/versions/0/schema", "value": schema}]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch)?);
        kinds.patch(name, &PatchParams::default(), &patch).await?;
        anyhow::Ok(())
    };
    set(&anything).await?;
    // The API server takes a moment to serve the new schema; what it refuses until then is not there.
    let created = tokio::time::timeout(LIMIT, async { while story.apply(object).await.is_err() {} }).await;
    set(&schema).await?;
    created.with_context(|| format!("{name} is not served without its schema"))
}

/// An event at the object, by the operator that all stories share, says that it cannot be read.
async fn reported(story: &Story<'_>, kind: &str) -> Result<()> {
    let told = |event: &&Event| {
        about(event, kind) && event.reason.as_deref() == Some("Unreadable") && by(event) == SHARED_OPERATOR
    };
    let what = format!("tell of the {kind} that cannot be read");
    let events =
        wait::list(&story.api::<Event>(), "", &what, LIMIT, |events| events.iter().any(|event| told(&event))).await?;
    let event = events.iter().find(told).context("it has gone")?;
    ensure!(event.type_.as_deref() == Some("Warning"), "it is no warning: {event:?}");
    ensure!(event.note.as_ref().is_some_and(|note| note.contains("cannot be read")), "{:?}", event.note);
    Ok(())
}

/// Which process has written it.
fn by(event: &Event) -> &str {
    event.reporting_instance.as_deref().unwrap_or_default()
}

fn about(event: &Event, kind: &str) -> bool {
    let regarding = event.regarding.as_ref();
    regarding.is_some_and(|object| object.name.as_deref() == Some("bad") && object.kind.as_deref() == Some(kind))
}
