//! What most stories apply: a Release of the application `web`, and a policy that finds no fault.

/// The spec of a Release that carries this version, by these steps; further fields may be added to its end.
pub fn with_images(version: &str, steps: &str) -> String {
    spec(&format!("  images: {{app: \"demo:{version}\"}}\n"), steps)
}

/// The same for a Release whose Deployment carries the version.
pub fn without_images(steps: &str) -> String {
    spec("", steps)
}

fn spec(images: &str, steps: &str) -> String {
    format!(
        "workloads:
- ref: {{kind: Deployment, name: web}}
{images}  service: web
  routes: [{{kind: HTTPRoute, name: web}}]
strategy: {{canary: {{steps: [{steps}]}}}}
"
    )
}

/// Further fields: somebody approves gate `go` before the start, and the policy below is armed.
pub const GATE_AND_BAKE: &str = "gates: {approvals: [{name: go, before: Start}]}\nrollbackPolicy: bake\n";

/// The RollbackPolicy `bake`, whose check always succeeds; it stays armed for this long after promotion.
pub fn bake(time: &str) -> String {
    format!(
        "apiVersion: lockkeeper.dev/v1alpha1
kind: RollbackPolicy
metadata: {{name: bake, namespace: NAMESPACE}}
spec: {{checks: [{{name: always, query: vector(1), min: 1, interval: 1s}}], bake: {time}}}
"
    )
}
