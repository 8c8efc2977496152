//! What somebody needs to see when a story has failed.

use std::fs;

use lockkeeper_e2e::User;

use super::Story;

/// Lines of an operator's log.
const LOG_LINES: usize = 80;

/// The state of the story's namespace, and what the operators said about it.
pub async fn shown(story: &Story<'_>) -> String {
    let mut parts = Vec::new();
    for (what, arguments) in [
        ("Releases", &["get", "releases", "-o", "yaml"][..]),
        ("Deployments", &["get", "deployments", "-o", "yaml"]),
        ("ReplicaSets", &["get", "replicasets", "--show-labels", "-o", "wide"]),
        ("Owners of the ReplicaSets", &["get", "replicasets", "-o", OWNERS]),
        ("Pods", &["get", "pods", "--show-labels", "-o", "wide"]),
        ("Services", &["get", "services", "-o", "wide"]),
        ("Routes", &["get", "httproutes", "-o", "yaml"]),
        ("Decisions", &["get", "decisions", "-o", "wide"]),
        ("Events", &["get", "events.events.k8s.io", "--sort-by=.metadata.creationTimestamp"]),
    ] {
        let text = story.kubectl(User::Admin, arguments).await.unwrap_or_else(|error| format!("{error:#}"));
        parts.push(format!("--- {what}\n{}", text.trim_end()));
    }
    for log in story.stage.operator_logs() {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(&story.namespace)).collect();
        let tail = lines.len().saturating_sub(LOG_LINES);
        if !lines.is_empty() {
            parts.push(format!("--- {}\n{}", log.display(), lines[tail..].join("\n")));
        }
    }
    parts.join("\n")
}

const OWNERS: &str = "custom-columns=NAME:.metadata.name,OWNER:.metadata.ownerReferences[*].name,\
    CONTROLLER:.metadata.ownerReferences[*].controller,REPLICAS:.spec.replicas";
