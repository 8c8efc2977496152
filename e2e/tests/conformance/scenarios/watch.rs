//! Watches: which events, and in which order.

use anyhow::Result;
use lockkeeper_simulator::api::Kind::{ControllerRevision, Release};
use lockkeeper_simulator::api::object::text;
use serde_json::json;

use super::api::revision;
use super::objects::release;
use crate::play::{Ask, Play};

/// Everything that happens after a list.
pub async fn after_a_list(play: &mut Play<'_>) -> Result<()> {
    play.create(ControllerRevision, revision("before", json!({}))).await?;
    let list = play.ask(Ask::list(ControllerRevision, &[])).await?;
    let version = text(&list["metadata"]["resourceVersion"]).to_owned();
    change(play).await?;
    if let Some(mut watch) = play.watch(ControllerRevision, &[("resourceVersion", &version)]).await? {
        play.events(&mut watch, ("ADDED", "end")).await?;
    }
    Ok(())
}

/// What enters and leaves a selection is new and gone.
pub async fn of_a_selection(play: &mut Play<'_>) -> Result<()> {
    let list = play.ask(Ask::list(ControllerRevision, &[])).await?;
    let version = text(&list["metadata"]["resourceVersion"]).to_owned();
    let query = [("resourceVersion", version.as_str()), ("labelSelector", "app=web")];
    let watch = play.watch(ControllerRevision, &query).await?;
    let one = [("resourceVersion", version.as_str()), ("fieldSelector", "metadata.name=end")];
    let other = play.watch(ControllerRevision, &one).await?;
    change(play).await?;
    for mut watch in watch.into_iter().chain(other) {
        play.events(&mut watch, ("ADDED", "end")).await?;
    }
    Ok(())
}

/// From what there is now, with a bookmark at its end.
pub async fn from_what_there_is(play: &mut Play<'_>) -> Result<()> {
    play.create(ControllerRevision, revision("a", json!({}))).await?;
    play.create(ControllerRevision, revision("b", json!({}))).await?;
    let initial =
        [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan"), ("allowWatchBookmarks", "true")];
    let watch = play.watch(ControllerRevision, &initial).await?;
    let unset = play.watch(ControllerRevision, &[]).await?;
    let zero = play.watch(ControllerRevision, &[("resourceVersion", "0")]).await?;
    change(play).await?;
    for mut watch in watch.into_iter().chain(unset).chain(zero) {
        play.events(&mut watch, ("ADDED", "end")).await?;
    }
    Ok(())
}

/// A version that is forgotten.
pub async fn too_old(play: &mut Play<'_>) -> Result<()> {
    play.create(Release, release(json!([{"setWeight": 5}]))).await?;
    if let Some(mut watch) = play.watch(Release, &[("resourceVersion", "1")]).await? {
        play.events(&mut watch, ("ERROR", "")).await?;
    }
    Ok(())
}

/// A watch whose time is over ends, and whoever goes on where it ended misses nothing.
pub async fn ended(play: &mut Play<'_>) -> Result<()> {
    let list = play.ask(Ask::list(ControllerRevision, &[])).await?;
    let version = text(&list["metadata"]["resourceVersion"]).to_owned();
    let short = [("resourceVersion", version.as_str()), ("timeoutSeconds", "1"), ("allowWatchBookmarks", "true")];
    let watch = play.watch(ControllerRevision, &short).await?;
    play.create(ControllerRevision, revision("first", json!({}))).await?;
    if let Some(mut watch) = watch {
        play.events(&mut watch, ("", "")).await?;
    }
    let first = play.peek(ControllerRevision, "first").await?;
    let version = text(&first["metadata"]["resourceVersion"]).to_owned();
    change(play).await?;
    if let Some(mut watch) = play.watch(ControllerRevision, &[("resourceVersion", &version)]).await? {
        play.events(&mut watch, ("ADDED", "end")).await?;
    }
    Ok(())
}

/// Deleted and made again with the same name: another object.
pub async fn recreated(play: &mut Play<'_>) -> Result<()> {
    let list = play.ask(Ask::list(ControllerRevision, &[])).await?;
    let version = text(&list["metadata"]["resourceVersion"]).to_owned();
    let watch = play.watch(ControllerRevision, &[("resourceVersion", &version)]).await?;
    for generation in ["first", "second"] {
        play.create(ControllerRevision, revision("end", json!({"made": generation}))).await?;
        play.delete(ControllerRevision, "end").await?;
    }
    play.create(ControllerRevision, revision("last", json!({}))).await?;
    if let Some(mut watch) = watch {
        play.events(&mut watch, ("ADDED", "last")).await?;
    }
    play.settle().await
}

async fn change(play: &mut Play<'_>) -> Result<()> {
    play.create(ControllerRevision, revision("one", json!({"app": "web"}))).await?;
    play.create(ControllerRevision, revision("two", json!({}))).await?;
    play.merge(ControllerRevision, "one", json!({"metadata": {"labels": {"app": "other"}}})).await?;
    play.merge(ControllerRevision, "one", json!({"metadata": {"labels": {"app": "other"}}})).await?;
    play.merge(ControllerRevision, "two", json!({"metadata": {"labels": {"app": "web"}}})).await?;
    play.merge(ControllerRevision, "two", json!({"metadata": {"finalizers": ["example.com/mine"]}})).await?;
    play.delete(ControllerRevision, "two").await?;
    play.merge(ControllerRevision, "two", json!({"metadata": {"finalizers": null}})).await?;
    play.delete(ControllerRevision, "one").await?;
    play.create(ControllerRevision, revision("end", json!({"app": "web"}))).await?;
    Ok(())
}
