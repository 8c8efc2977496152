//! What writes rest on, decisions that took too long, and watches that have missed something.

use std::{convert::Infallible, sync::Arc};

use http::{Request as Asked, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::{Client, client::Body};
use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::fixture::parts;

/// Requests as `METHOD path body`, answered in turn; the last answer stays.
fn operator(answers: &[(u16, Value)]) -> (Arc<Context>, Arc<Mutex<Vec<String>>>) {
    let (asked, answers): (Arc<Mutex<Vec<String>>>, _) = (Arc::default(), answers.to_vec());
    let log = asked.clone();
    let server = tower::service_fn(move |request: Asked<Body>| {
        let (log, answers) = (log.clone(), answers.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let mut log = log.lock();
            let (code, answer) = &answers[log.len().min(answers.len() - 1)];
            log.push(format!("{} {} {}", head.method, head.uri.path(), String::from_utf8_lossy(&body)));
            let answer = Body::from(answer.to_string().into_bytes());
            Ok::<_, Infallible>(Response::builder().status(*code).body(answer).unwrap())
        }
    });
    (Context::new(parts(Client::new(server, "shop"))), asked)
}

fn object(kind: &str, name: &str, version: &str) -> Value {
    json!({"kind": kind, "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": version}})
}

fn refusal(code: u16, reason: &str) -> (u16, Value) {
    (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason}))
}

/// The end of a canary Service, which rests on a route.
fn ending() -> Write {
    let request = Request::Delete { uid: "u".into(), resource_version: "7".into() };
    let seen = Seen { kind: Kind::HTTPRoute, name: "web".into(), resource_version: Some("5".into()) };
    Write { kind: Kind::Service, name: "web-canary".into(), request, purpose: "end it".into(), rests_on: vec![seen] }
}

fn actor(key: &Key) -> Actor<'_> {
    Actor { resource: Resource::Release, key, phase: None }
}

const PROOF: &str = "PATCH /apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/web \
                     [{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":\"5\"}]";

#[tokio::test]
async fn without_an_election_what_a_write_rests_on_is_proven_first_and_once_a_round() {
    let gone = (200, json!({"kind": "Status", "status": "Success"}));
    let (context, asked) = operator(&[(200, object("HTTPRoute", "web", "5")), gone]);
    let key = Key::new("shop", "web");
    act(&context, actor(&key), &[ending(), ending()], |_| true).await.unwrap();
    let asked = asked.lock();
    let methods: Vec<_> = asked.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!((asked[0].as_str(), methods), (PROOF, vec!["PATCH", "DELETE", "DELETE"]));
}

#[tokio::test]
async fn a_write_that_rests_on_what_has_changed_is_not_done() {
    for (code, reason) in [(422, "Invalid"), (404, "NotFound"), (409, "Conflict")] {
        let (context, asked) = operator(&[refusal(code, reason)]);
        let key = Key::new("shop", "web");
        let (_, refused) = act(&context, actor(&key), &[ending()], |_| true).await.unwrap_err();
        let Refusal::Stale { resource, key } = refused else { panic!("{refused:?}") };
        assert_eq!((resource, key.name.as_str()), (Resource::HTTPRoute, "web"));
        assert_eq!(*asked.lock(), [PROOF]);
    }
}

#[tokio::test]
async fn a_write_that_rests_on_the_absence_of_an_object_is_done_only_if_there_is_none() {
    let list = |items: Value| {
        (
            200,
            json!({"kind": "ReplicaSetList", "apiVersion": "apps/v1", "metadata": {"resourceVersion": "8"}, "items": items}),
        )
    };
    let write = Write { rests_on: vec![Seen::absent(Kind::ReplicaSet, "web-1")], ..ending() };
    let key = Key::new("shop", "web");
    let (context, asked) = operator(&[list(json!([object("ReplicaSet", "web-1", "6")]))]);
    let (_, refused) = act(&context, actor(&key), std::slice::from_ref(&write), |_| true).await.unwrap_err();
    assert!(matches!(refused, Refusal::Stale { resource: Resource::ReplicaSet, .. }), "{refused:?}");
    assert_eq!(asked.lock().len(), 1);
    let gone = (200, json!({"kind": "Status", "status": "Success"}));
    let (context, asked) = operator(&[list(json!([])), gone]);
    act(&context, actor(&key), &[write], |_| true).await.unwrap();
    assert!(asked.lock()[1].starts_with("DELETE "), "{asked:?}");
}

#[tokio::test]
async fn what_this_process_has_written_or_proven_while_it_leads_needs_no_proof() {
    let (context, release) = (operator(&[refusal(500, "InternalError")]).0, Key::new("shop", "web"));
    let proofs = &context.proofs;
    let (kind, name) = (Kind::HTTPRoute, "web");
    proofs.note_object(&release, Some(1), kind, name);
    assert!(!proofs.holds(&release, Some(1), kind, name), "nothing is known before the Release itself is");
    proofs.note(&release, Some(1));
    proofs.note_object(&release, Some(1), kind, name);
    assert!(proofs.holds(&release, Some(1), kind, name));
    assert!(!proofs.holds(&release, Some(2), kind, name), "others may have led since");
    assert!(!proofs.holds(&release, None, kind, name), "nothing keeps others out");
    proofs.rest(&release);
    assert!(!proofs.holds(&release, Some(1), kind, name) && proofs.hold(&release, Some(1)));
}

#[tokio::test]
async fn what_would_not_be_decided_any_more_is_not_written() {
    let (context, asked) = operator(&[(200, object("HTTPRoute", "web", "5"))]);
    let key = Key::new("shop", "web");
    let (_, refused) = act(&context, actor(&key), &[ending()], |_| false).await.unwrap_err();
    assert!(matches!(refused, Refusal::Overtaken), "{refused:?}");
    assert_eq!(asked.lock().len(), 1, "that it rests on the route takes time, too, and comes before the question");
}

#[tokio::test]
async fn what_a_watch_has_missed_is_found_by_asking() {
    let list = |items: Value, version: &str| {
        (
            200,
            json!({"kind": "ServiceList", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}),
        )
    };
    let key = Key::new("shop", "web");
    let known = |answer| {
        let (context, _) = operator(&[answer]);
        let held = serde_json::from_value(object("Service", "web", "5")).unwrap();
        context.cache.put(Resource::Service, held, Timestamp::UNIX_EPOCH).unwrap();
        context
    };
    let version = |context: &Context| context.cache.read().services.version(&key).map(|version| version.number);
    let context = known(list(json!([]), "8"));
    assert!(!look_again(&context, Resource::Service, &key).await.unwrap());
    assert_eq!(version(&context), None, "it is gone");
    let context = known(list(json!([object("Service", "web", "6")]), "8"));
    assert!(look_again(&context, Resource::Service, &key).await.unwrap());
    assert_eq!(version(&context), Some(6));
    let context = known(list(json!([]), "4"));
    assert!(!look_again(&context, Resource::Service, &key).await.unwrap());
    assert_eq!(version(&context), Some(5), "the answer is older than what is known");
}
