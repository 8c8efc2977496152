//! An API server that knows one Lease, and bad networks to it.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use kube::{Client, client::Body};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// One network to the API server, with a client at its end.
#[derive(Clone)]
pub struct Link {
    cut: watch::Sender<bool>,
    /// Answers get lost; requests do not.
    pub deaf: Arc<AtomicBool>,
    random: Arc<Mutex<fastrand::Rng>>,
    /// Requests that a client sent, watches and their lists apart.
    pub requests: Arc<Mutex<Vec<Method>>>,
}

impl Link {
    pub fn new(seed: u64) -> Self {
        Self {
            cut: watch::channel(false).0,
            deaf: Arc::default(),
            random: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))),
            requests: Arc::default(),
        }
    }

    /// While cut, nothing arrives in either direction; what was under way arrives when it is mended.
    pub fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }

    async fn travel(&self) {
        let millis = self.random.lock().u64(0..30);
        sleep(Duration::from_millis(millis)).await;
        let _ = self.cut.subscribe().wait_for(|cut| !cut).await;
    }
}

/// The Lease as it was after each write; `None` when it was deleted.
#[derive(Clone)]
pub struct ApiServer {
    log: watch::Sender<Vec<Option<Value>>>,
}

impl ApiServer {
    pub fn new() -> Self {
        Self { log: watch::channel(vec![None]).0 }
    }

    /// A client at the end of a link. Whatever it sends arrives, even when it has stopped waiting for the answer.
    pub fn client(&self, link: &Link) -> Client {
        let (server, link) = (self.clone(), link.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (server, link) = (server.clone(), link.clone());
            async move {
                let there = tokio::spawn({
                    let link = link.clone();
                    async move {
                        if request.uri().query().is_none_or(|query| !query.contains("fieldSelector")) {
                            link.requests.lock().push(request.method().clone());
                        }
                        link.travel().await;
                        server.serve(&link, request).await
                    }
                });
                let answer = there.await.unwrap();
                link.travel().await;
                if link.deaf.load(Relaxed) {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(answer)
            }
        });
        Client::new(service, "default")
    }

    pub fn delete(&self) {
        self.log.send_modify(|log| log.push(None));
    }

    /// What a person does with `kubectl edit`.
    pub fn give_to(&self, holder: &str) {
        let mut lease = self.current().unwrap();
        lease["spec"]["holderIdentity"] = json!(holder);
        self.store(lease);
    }

    pub fn holder(&self) -> Option<String> {
        Some(self.current()?["spec"]["holderIdentity"].as_str()?.into())
    }

    fn current(&self) -> Option<Value> {
        self.log.borrow().last().cloned().flatten()
    }

    fn store(&self, mut lease: Value) -> Value {
        self.log.send_modify(|log| {
            lease["metadata"]["resourceVersion"] = json!(log.len().to_string());
            log.push(Some(lease.clone()));
        });
        lease
    }

    async fn serve(&self, link: &Link, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default();
        match (parts.method, query.contains("watch=true"), query.contains("fieldSelector")) {
            (Method::GET, true, _) => self.watch(link, query),
            (Method::GET, false, true) => {
                let version = (self.log.borrow().len() - 1).to_string();
                let items: Vec<Value> = self.current().into_iter().collect();
                reply(200, &json!({"metadata": {"resourceVersion": version}, "items": items}))
            }
            (Method::GET, false, false) => self.current().map_or_else(|| refuse(404), |lease| reply(200, &lease)),
            (Method::POST, ..) if self.current().is_some() => refuse(409),
            (Method::POST, ..) => reply(201, &self.store(body)),
            (Method::PATCH, ..) => self.patch(body),
            (method, ..) => panic!("unexpected {method}"),
        }
    }

    fn patch(&self, patch: Value) -> Answer {
        let Some(mut lease) = self.current() else { return refuse(404) };
        match json_patch::patch(&mut lease, &serde_json::from_value::<json_patch::Patch>(patch).unwrap()) {
            Ok(()) => reply(200, &self.store(lease)),
            Err(_) => refuse(422),
        }
    }

    fn watch(&self, link: &Link, query: &str) -> Answer {
        let from = query.split("resourceVersion=").nth(1).unwrap().split('&').next().unwrap();
        let from: usize = from.parse().unwrap();
        let events = stream::unfold((self.log.subscribe(), link.clone(), from + 1), |(mut log, link, at)| async move {
            let event = {
                let log = log.wait_for(|log| log.len() > at).await.ok()?;
                match (&log[at - 1], &log[at]) {
                    (Some(before), None) => json!({"type": "DELETED", "object": before}),
                    (None, Some(lease)) => json!({"type": "ADDED", "object": lease}),
                    (_, Some(lease)) => json!({"type": "MODIFIED", "object": lease}),
                    (None, None) => json!({"type": "BOOKMARK", "object": {
                        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"resourceVersion": at.to_string()}
                    }}),
                }
            };
            link.travel().await;
            Some((Ok(Frame::data(Bytes::from(format!("{event}\n")))), (log, link, at + 1)))
        });
        Response::new(StreamBody::new(events.boxed()).boxed_unsync())
    }
}

fn reply(code: u16, body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string())).boxed_unsync();
    Response::builder().status(code).body(body).unwrap()
}

fn refuse(code: u16) -> Answer {
    let reason = match code {
        404 => "NotFound",
        409 => "AlreadyExists",
        _ => "Invalid",
    };
    reply(
        code,
        &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": reason, "reason": reason}),
    )
}
