//! Policies that several namespaces share: who means which, and who hears of a change.

use serde_json::{Value, json};

use super::*;

const PLATFORM: &str = "lockkeeper-system";

struct Bench {
    cache: Cache,
    version: u64,
}

impl Bench {
    /// Releases `shop/web` and `bank/web` name policy `slo`, of which the platform has one for namespaces with a team.
    fn new() -> Self {
        let mut bench = Self { cache: Cache::new(PLATFORM), version: 0 };
        for namespace in ["shop", "bank"] {
            bench.namespace(namespace, json!({}));
            bench.put(
                Resource::Release,
                json!({
                    "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release",
                    "metadata": {"name": "web", "namespace": namespace},
                    "spec": {
                        "workloads": [{"ref": {"kind": "Deployment", "name": "web"}}],
                        "strategy": {"canary": {"steps": [{"setWeight": 5}]}},
                        "rollbackPolicy": "slo",
                    },
                }),
            );
        }
        bench.policy(PLATFORM, json!({"matchExpressions": [{"key": "team", "operator": "Exists"}]}));
        bench
    }

    fn put(&mut self, resource: Resource, mut object: Value) -> Touched {
        self.version += 1;
        object["metadata"]["uid"] = json!(object["metadata"]["name"]);
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.cache.put(resource, serde_json::from_value(object).unwrap(), Timestamp::UNIX_EPOCH).unwrap()
    }

    fn namespace(&mut self, name: &str, labels: Value) -> Touched {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        self.put(Resource::Namespace, namespace)
    }

    fn policy(&mut self, namespace: &str, allow: Value) -> Touched {
        let mut spec = json!({"checks": [{"name": "up", "query": "up", "min": 1}]});
        if !allow.is_null() {
            spec["allowNamespaces"] = allow;
        }
        self.put(
            Resource::RollbackPolicy,
            json!({
                "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RollbackPolicy",
                "metadata": {"name": "slo", "namespace": namespace}, "spec": spec,
            }),
        )
    }

    /// Namespaces of the Releases that use the policy of this namespace.
    fn users(&self, namespace: &str) -> Vec<String> {
        let users = self.cache.read().users(&Key::new(namespace, "slo"), PLATFORM);
        users.into_iter().map(|(release, _)| release.namespace).collect()
    }

    /// Why Releases of this namespace cannot use the policy that they mean.
    fn refusal(&self, namespace: &str) -> String {
        let state = self.cache.read();
        let (_, found) = state.policy(namespace, "slo", PLATFORM).unwrap();
        found.unwrap_err()
    }
}

fn releases(touched: &Touched) -> Vec<String> {
    touched.releases.iter().map(|key| key.namespace.clone()).collect()
}

fn policies(touched: &Touched) -> Vec<String> {
    touched.policies.iter().map(|key| key.namespace.clone()).collect()
}

#[test]
fn a_namespace_is_admitted_when_it_gets_the_label_and_all_concerned_look_again() {
    let mut bench = Bench::new();
    assert_eq!(bench.users(PLATFORM), [""; 0]);
    assert!(bench.refusal("shop").contains("does not admit namespace shop"), "{}", bench.refusal("shop"));
    let touched = bench.namespace("shop", json!({"team": "shop"}));
    assert_eq!((releases(&touched), policies(&touched)), (vec!["shop".into()], vec![PLATFORM.into()]));
    assert_eq!(bench.users(PLATFORM), ["shop"]);
    assert!(bench.refusal("bank").contains("does not admit namespace bank"), "{}", bench.refusal("bank"));
}

#[test]
fn a_change_of_the_platforms_policy_is_seen_by_releases_everywhere() {
    let mut bench = Bench::new();
    let touched = bench.policy(PLATFORM, json!({}));
    assert_eq!((releases(&touched), policies(&touched)), (vec!["bank".into(), "shop".into()], vec![PLATFORM.into()]));
    assert_eq!(bench.users(PLATFORM), ["bank", "shop"]);
    bench.policy(PLATFORM, Value::Null);
    assert_eq!(bench.users(PLATFORM), [""; 0]);
    assert!(bench.refusal("shop").contains("has no allowNamespaces"), "{}", bench.refusal("shop"));
}

#[test]
fn the_nearer_policy_comes_first_and_the_platforms_again_when_it_is_gone() {
    let mut bench = Bench::new();
    bench.policy(PLATFORM, json!({}));
    let both = vec![PLATFORM.to_owned(), "shop".into()];
    let touched = bench.policy("shop", Value::Null);
    assert_eq!((releases(&touched), policies(&touched)), (vec!["shop".into()], both.clone()));
    assert_eq!((bench.users("shop"), bench.users(PLATFORM)), (vec!["shop".into()], vec!["bank".into()]));
    let gone = json!({"name": "slo", "namespace": "shop", "uid": "slo", "resourceVersion": "99"});
    let touched = bench.cache.remove(Resource::RollbackPolicy, &serde_json::from_value(gone).unwrap());
    assert_eq!((releases(&touched), policies(&touched)), (vec!["shop".into()], both));
    assert_eq!(bench.users(PLATFORM), ["bank", "shop"]);
}

#[test]
fn a_release_that_names_another_policy_is_seen_by_both() {
    let mut bench = Bench::new();
    bench.namespace("shop", json!({"team": "shop"}));
    let mut release = json!(bench.cache.read().releases.get(&Key::new("shop", "web")).unwrap().as_ref());
    release["spec"]["rollbackPolicy"] = "other".into();
    let touched = bench.put(Resource::Release, release);
    assert!(touched.policies.contains(&Key::new(PLATFORM, "slo")), "{touched:?}");
    assert!(touched.policies.contains(&Key::new(PLATFORM, "other")), "{touched:?}");
    assert_eq!(bench.users(PLATFORM), [""; 0]);
}

#[test]
fn a_policy_that_admits_others_from_a_place_where_nobody_looks_is_a_fault() {
    let mut bench = Bench::new();
    bench.policy("shop", json!({}));
    assert!(
        bench.refusal("shop").contains("RollbackPolicy slo: allowNamespaces works only"),
        "{}",
        bench.refusal("shop")
    );
}

#[test]
fn a_window_that_cannot_be_read_keeps_what_it_is_told() {
    let bench = Bench::new();
    let window = json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "DeploymentWindow",
        "metadata": {"name": "broken", "namespace": "shop", "uid": "broken", "resourceVersion": "100"},
        "spec": {"action": "Perhaps"}, "status": {"active": true, "observedGeneration": 7},
    });
    let window = serde_json::from_value(window).unwrap();
    bench.cache.put(Resource::DeploymentWindow, window, Timestamp::UNIX_EPOCH).unwrap_err();
    let state = bench.cache.read();
    let status = state.windows.get(&Key::new("shop", "broken")).unwrap().status.as_ref().unwrap();
    assert_eq!(status.observed_generation, Some(7));
}
