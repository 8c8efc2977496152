//! What each role for people allows, and that it allows nothing else.

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use lockkeeper_e2e::{Cluster, User};

use super::fixture::Place;
use super::operator::{Question, may};

/// Verbs that anybody could have.
const VERBS: [&str; 16] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "approve",
    "promote",
    "abort",
    "override",
    "govern",
    "bind",
    "escalate",
    "impersonate",
];
/// Our resources, and those of others that tempt.
const OURS: [&str; 8] = [
    "releases",
    "releases/status",
    "deploymentwindows",
    "deploymentwindows/status",
    "rollbackpolicies",
    "rollbackpolicies/status",
    "decisions",
    "releases/finalizers",
];
const OTHERS: [(&str, &str); 9] = [
    ("", "events"),
    ("events.k8s.io", "events"),
    ("", "secrets"),
    ("", "pods"),
    ("", "pods/exec"),
    ("", "services"),
    ("apps", "deployments"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("coordination.k8s.io", "leases"),
];

const READ: &str = "get list watch";
const KINDS: [&str; 4] = ["releases", "deploymentwindows", "rollbackpolicies", "decisions"];
const RULES: &str = "create update patch delete deletecollection";

/// Resource of ours, and verbs.
type Allowed = (&'static str, &'static str);

/// What each role adds to reading.
const ROLES: [(&str, &[Allowed]); 5] = [
    ("lockkeeper-viewer", &[]),
    ("lockkeeper-releaser", &[("decisions", "create"), ("releases", "update patch promote abort")]),
    ("lockkeeper-approver", &[("decisions", "create"), ("releases", "approve")]),
    ("lockkeeper-oncall", &[("decisions", "create"), ("releases", "promote abort override")]),
    (
        "lockkeeper-governor",
        &[("releases", RULES), ("releases", "govern"), ("deploymentwindows", RULES), ("rollbackpolicies", RULES)],
    ),
];
/// Roles of Kubernetes' own, which ours for looking is part of.
const BUILT_IN: [&str; 3] = ["view", "edit", "admin"];

/// Each role alone, asked about every verb on every resource: in the namespace where it is bound, and in another.
pub async fn roles(cluster: &Cluster) -> Result<()> {
    cluster.create_namespace("people").await?;
    let place = Place { cluster, namespace: "people" };
    let ours = || OURS.into_iter().map(|resource| ("lockkeeper.dev", resource));
    for (role, more) in ROLES {
        let user = place.bound(role).await?;
        let allowed = |group: &str, resource: &str, verb: &str| {
            may_read(group, resource, verb) || {
                let mut more = more.iter();
                group == "lockkeeper.dev"
                    && more.any(|(of, verbs)| *of == resource && verbs.split(' ').any(|allowed| allowed == verb))
            }
        };
        asked(cluster, &user, "people", ours().chain(OTHERS), allowed).await?;
        asked(cluster, &user, "default", ours().chain(OTHERS), |_, _, _| false).await?;
    }
    for role in BUILT_IN {
        let user = place.bound(role).await?;
        asked(cluster, &user, "people", ours(), may_read).await?;
    }
    asked(cluster, "nobody", "people", ours().chain(OTHERS), |_, _, _| false).await
}

fn may_read(group: &str, resource: &str, verb: &str) -> bool {
    let readable = if group == "lockkeeper.dev" { KINDS.contains(&resource) } else { resource == "events" };
    readable && READ.split(' ').any(|read| read == verb)
}

impl Place<'_> {
    /// Somebody who has this role and no other.
    async fn bound(&self, role: &str) -> Result<String> {
        let user = format!("only-{role}");
        let (to, of) = (format!("--user={user}"), format!("--clusterrole={role}"));
        self.kubectl(User::Admin, &["create", "rolebinding", &user, &of, &to]).await?;
        Ok(user)
    }
}

/// Fails with everything that is not as it should be.
async fn asked(
    cluster: &Cluster,
    user: &str,
    namespace: &str,
    resources: impl Iterator<Item = (&'static str, &'static str)>,
    allowed: impl Fn(&str, &str, &str) -> bool,
) -> Result<()> {
    let questions = resources.flat_map(|(group, resource)| VERBS.map(|verb| (group, resource, verb)));
    let wrong = stream::iter(questions).map(async |(group, resource, verb)| -> Result<Option<String>> {
        let expected = allowed(group, resource, verb);
        let found = may(cluster, Question { user, namespace, group, resource, verb, name: "" }).await?;
        let word = if found { "may" } else { "may not" };
        Ok((found != expected).then(|| format!("{user} {word} {verb} {group}/{resource} in {namespace}")))
    });
    let wrong: Vec<Option<String>> = wrong.buffered(16).try_collect().await?;
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
