//! Decisions, and the verb govern.

use anyhow::{Context, Result, ensure};
use lockkeeper_e2e::{Cluster, User};

use super::fixture::{APP, Place, decision, refused};

pub async fn authors(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "authors").await?;
    let carol = || cluster.kubeconfig(User::Carol);
    let mallory = || cluster.kubeconfig(User::Mallory);
    let approve = |author: &str| decision(author, "Approve", r#", "gate": "board""#);
    let policy = "lockkeeper-decision";

    place.decide(carol(), &approve("carol"), &[]).await?;
    let group = |group: &str| approve("carol").replace(r#""carol""#, &format!(r#""carol", "groups": ["{group}"]"#));
    place.decide(carol(), &group("change-board"), &[]).await?;
    refused(
        place.decide(carol(), &group("sre"), &[]).await,
        &[policy, "you are not in sre", "leave it out of spec.by.groups"],
    )?;
    refused(place.decide(carol(), &approve("dave"), &[]).await, &[policy, "set spec.by.username to carol (is dave)"])?;
    // Without the role one may not even create a Decision; with the right to create, the verb is still missing.
    refused(place.decide(mallory(), &approve("mallory"), &[]).await, &["cannot create resource \"decisions\""])?;
    place
        .kubectl(User::Admin, &["create", "role", "decide", "--verb=create", "--resource=decisions.lockkeeper.dev"])
        .await?;
    place.kubectl(User::Admin, &["create", "rolebinding", "decide", "--role=decide", "--user=mallory"]).await?;
    let missing = "Approve needs the verb approve on Release authors/web, which mallory does not hold";
    refused(place.decide(mallory(), &approve("mallory"), &[]).await, &[policy, missing])?;
    let other = approve("carol").replace(r#""release": "web""#, r#""release": """#);
    refused(place.decide(carol(), &other, &[]).await, &["spec.release"])?;

    for (name, admitted) in [("approver", true), ("git-sync", false)] {
        let user = format!("system:serviceaccount:robots:{name}");
        let account = format!("--serviceaccount=robots:{name}");
        place
            .kubectl(User::Admin, &["create", "rolebinding", name, "--clusterrole=lockkeeper-approver", &account])
            .await?;
        let answer = place.decide(cluster.service_account("robots", name).await?, &approve(&user), &[]).await;
        if admitted {
            answer?;
        } else {
            refused(answer, &[policy, "service accounts do not decide", "--approving-service-accounts", &user])?;
        }
    }
    Ok(())
}

pub async fn verbs(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "verbs").await?;
    // Who of: releaser, on call, approver.
    for (verdict, extra, may) in [
        ("Approve", r#", "gate": "g""#, [false, false, true]),
        ("Reject", r#", "gate": "g""#, [false, false, true]),
        ("Promote", "", [true, true, false]),
        ("Skip", "", [true, true, false]),
        ("Pause", "", [true, true, false]),
        ("Resume", "", [true, true, false]),
        ("Retry", "", [true, true, false]),
        ("Abort", "", [true, true, false]),
        ("Rollback", "", [true, true, false]),
        ("Override", r#", "gate": "g", "reason": "page""#, [false, true, false]),
    ] {
        for (user, may) in [User::Erin, User::Alice, User::Carol].into_iter().zip(may) {
            let answer = place.decide(cluster.kubeconfig(user), &decision(user.name(), verdict, extra), &[]).await;
            if may {
                answer?;
            } else {
                refused(answer, &["lockkeeper-decision", &format!("{verdict} needs the verb")])?;
            }
        }
    }
    Ok(())
}

/// To each who has nothing but one of the roles, `kubectl describe` shows the Release with its events.
pub async fn described(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "described").await?;
    let release = place.get("release/web").await?;
    let uid = release.0["metadata"]["uid"].as_str().context("no uid")?;
    let event = format!(
        "
apiVersion: v1
kind: Event
metadata: {{name: started}}
involvedObject: {{apiVersion: lockkeeper.dev/v1alpha1, kind: Release, namespace: described, name: web, uid: {uid}}}
reason: ReleaseStarted
message: version 2.0.0
type: Normal
"
    );
    place.run(cluster.kubeconfig(User::Admin), &["create", "-f", "-"], &event).await?;
    for role in ["viewer", "releaser", "approver", "oncall", "governor"] {
        let (role, user) = (format!("--clusterrole=lockkeeper-{role}"), format!("only-{role}"));
        place.kubectl(User::Admin, &["create", "rolebinding", &user, &role, &format!("--user={user}")]).await?;
        // What the other API group shows is the same, and asked for by `kubectl events`.
        for arguments in [&["describe", "release/web"][..], &["get", "events.events.k8s.io"]] {
            let shown = place.kubectl(User::Admin, &[&["--as", &user], arguments].concat()).await?;
            ensure!(shown.contains("ReleaseStarted"), "{user} does not see events by {arguments:?}: {shown}");
        }
    }
    Ok(())
}

pub async fn govern(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "govern").await?;
    let gates = |gates: &str| format!(r#"{{"spec":{{"gates":{gates}}}}}"#);
    let approval = |required: u8, groups: &str| {
        let from = format!(r#"{{"groups":[{groups}]}}"#);
        gates(&format!(r#"{{"approvals":[{{"name":"board","before":"Start","required":{required},"from":{from}}}]}}"#))
    };
    let changes = [
        // The approval goes, by itself and with all gates.
        gates(r#"{"approvals":null}"#),
        gates(r#"{"approvals":[]}"#),
        gates("null"),
        // It stays, but means less.
        approval(1, r#""change-board""#),
        approval(2, r#""change-board","releasers""#),
        gates(r#"{"requester":"erin"}"#),
        gates(r#"{"windows":{"onClose":"Continue"}}"#),
        r#"{"spec":{"strategy":{"canary":{"steps":[{"setWeight":100}]}}}}"#.to_owned(),
        r#"{"spec":{"rollbackPolicy":"lax"}}"#.to_owned(),
    ];
    let release = "release/web";
    let before = place.get(release).await?.0["spec"].clone();
    let told = "changing gates, strategy or rollbackPolicy needs the verb govern on Release govern/web, which erin does not hold";
    for patch in &changes {
        let answer = place.patch(User::Erin, release, patch).await;
        refused(answer, &["lockkeeper-govern", told]).with_context(|| patch.clone())?;
    }
    let without = APP.split("---").nth(2).unwrap_or_default().split("  gates:").next().unwrap_or_default();
    refused(place.replace(User::Erin, without).await, &["lockkeeper-govern", told])?;
    // Nor by another Release of the same name.
    refused(place.kubectl(User::Erin, &["delete", release]).await, &["cannot delete resource \"releases\""])?;
    ensure!(place.get(release).await?.0["spec"] == before);

    for patch in &changes {
        place.patch(User::Bob, release, patch).await.with_context(|| patch.clone())?;
    }
    for patch in [r#"{"spec":{"version":"2"}}"#, r#"{"spec":{"suspend":true}}"#, r#"{"metadata":{"labels":{"a":"b"}}}"#]
    {
        place.patch(User::Erin, release, patch).await?;
    }
    Ok(())
}
