//! Who decides: the API server says.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, api::PostParams};
use lockkeeper_api::decision::Author;

use crate::{cluster::Cluster, error::Error};

/// The limits of `spec.by.groups`.
const GROUPS_MAX: usize = 64;
const GROUP_LENGTH_MAX: usize = 256;

/// The user of the kubeconfig as the API server knows them, with the groups that a Decision may rely on.
///
/// # Errors
/// If the API server does not know the user, or names none.
pub async fn whoami(cluster: &Cluster, asked_groups: &[String]) -> Result<Author, Error> {
    let review = Api::<SelfSubjectReview>::all(cluster.client.clone())
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .map_err(Error::identity)?;
    let user = review.status.and_then(|status| status.user_info).unwrap_or_default();
    let username =
        user.username.ok_or_else(|| Error::Refused("the API server gives you no user name: log in".into()))?;
    Ok(Author { username, groups: relied_on(user.groups.unwrap_or_default(), asked_groups) })
}

/// All groups but those that every user is in. Where there are too many for a Decision, those that the gate asks for stay.
fn relied_on(mut groups: Vec<String>, asked: &[String]) -> Vec<String> {
    groups.retain(|g| !matches!(g.as_str(), "system:authenticated" | "system:unauthenticated"));
    groups.retain(|g| !g.is_empty() && g.chars().count() <= GROUP_LENGTH_MAX);
    groups.sort_by_key(|group| !asked.contains(group));
    groups.truncate(GROUPS_MAX);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<const N: usize>(names: [&str; N]) -> Vec<String> {
        names.map(String::from).to_vec()
    }

    #[test]
    fn the_groups_that_everybody_is_in_say_nothing() {
        assert_eq!(relied_on(texts(["sre", "system:authenticated"]), &[]), ["sre"]);
    }

    #[test]
    fn the_groups_that_the_gate_asks_for_stay_when_there_are_too_many() {
        let mut groups: Vec<String> = (0..100).map(|n| format!("team-{n}")).collect();
        groups.push("sre".into());
        let kept = relied_on(groups, &texts(["sre"]));
        assert_eq!((kept.len(), kept[0].as_str()), (GROUPS_MAX, "sre"));
    }

    #[test]
    fn a_group_longer_than_a_decision_takes_is_left_out() {
        assert!(relied_on(vec!["g".repeat(257)], &[]).is_empty());
    }
}
