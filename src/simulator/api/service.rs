//! The API server under a `kube::Client`: requests and answers.

use std::{
    convert::Infallible,
    future::pending,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use kube::{Client, client::Body};
use lockkeeper_operator::context::Clock;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Call, Caller, Disposition, Kind, Link, Part, Server, Status, Verb, discovery, scale, watch};
use crate::run::{SharedTrace, Trace};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What a client gets.
pub type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// A server that many look at. Everything runs on one thread; the lock is never contended and never held across an await.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

struct Inner {
    server: Mutex<Server>,
    clock: Clock,
    trace: SharedTrace,
    random: Mutex<fastrand::Rng>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.server.lock().fmt(f)
    }
}

impl Shared {
    /// A server on this clock.
    pub fn new(server: Server, clock: Clock, trace: SharedTrace, random: fastrand::Rng) -> Self {
        Self(Arc::new(Inner { server: Mutex::new(server), clock, trace, random: Mutex::new(random) }))
    }

    /// The server, at this time.
    pub fn lock(&self) -> MutexGuard<'_, Server> {
        let mut server = self.0.server.lock();
        server.now = self.0.clock.now();
        server
    }

    /// The true time.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// What has happened.
    pub fn trace(&self) -> MutexGuard<'_, Trace> {
        self.0.trace.lock()
    }

    /// A generator of its own for somebody, from the one seed.
    pub fn fork_random(&self) -> fastrand::Rng {
        self.0.random.lock().fork()
    }
}

/// The server as one user reaches it over one network.
#[derive(Clone)]
pub struct Service {
    shared: Shared,
    link: Link,
    caller: Caller,
    /// Kinds that this server does not serve.
    hidden: Arc<[Kind]>,
}

impl Service {
    /// The way of a user to the server.
    pub fn new(shared: Shared, link: Link, caller: Caller, hidden: &[Kind]) -> Self {
        Self { shared, link, caller, hidden: hidden.into() }
    }

    /// A client at its end. To be made within a runtime.
    pub fn client(self) -> Client {
        Client::new(self, "default")
    }

    async fn serve(self, request: Request<Body>) -> Result<Answer, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(BoxError::from)?.to_bytes();
        self.link.passes().await;
        sleep(self.link.latency()).await;
        self.link.passes().await;
        let answer = if let Some(found) = discovery::answer(parts.uri.path(), &self.caller.user, &self.hidden) {
            self.note(parts.method.as_str(), parts.uri.path(), &body, 200, b"");
            reply(200, found.to_string())
        } else if parts.uri.path().starts_with("/apis/events.k8s.io/") {
            let answer = self.event(&body);
            if self.link.loses_answer() {
                sleep(EVENT_PATIENCE).await;
                return Err(timed_out());
            }
            answer
        } else {
            let method = parts.method.as_str().to_owned();
            match Call::read(&parts, &body) {
                Ok(call) if self.hidden.contains(&call.key.kind) => refuse(&Status::unknown_place(), None),
                Ok(call) => self.handle(&method, call, &body).await?,
                Err(status) => refuse(&status, None),
            }
        };
        sleep(self.link.latency()).await;
        self.link.passes().await;
        Ok(answer)
    }

    async fn handle(&self, method: &str, call: Call, body: &Bytes) -> Result<Answer, BoxError> {
        let disposition = self.link.judge(&call);
        let place = || format!("{} {}", call.key, call.subresource);
        let done = |answer: &Answer| self.note(method, &place(), body, answer.status().as_u16(), b"");
        match disposition {
            Disposition::Pass => Ok(self.answer(method, call, body)),
            Disposition::Delay(time) => {
                let asked = self.shared.clock().now();
                sleep(time).await;
                self.link.delayed(asked);
                let answer = self.answer(method, call, body);
                sleep(time).await;
                self.link.delayed(asked);
                Ok(answer)
            }
            Disposition::Refuse(status, again) => {
                let answer = refuse(&status, again);
                done(&answer);
                Ok(answer)
            }
            Disposition::TimeOut { after, done } => {
                if done {
                    self.answer(method, call, body);
                }
                sleep(after).await;
                Err(timed_out())
            }
            Disposition::Cut if matches!(call.verb, Verb::Watch { .. }) => {
                self.answer(method, call, body);
                Ok(Response::new(StreamBody::new(stream::iter([Err(reset())])).boxed_unsync()))
            }
            Disposition::Truncate if matches!(call.verb, Verb::Watch { .. }) => {
                self.answer(method, call, body);
                Ok(reply(200, &b"{\"type\":\"ADDED\",\"obj"[..]))
            }
            Disposition::Cut => {
                let sent = self.answer(method, call, body).into_body().collect().await?.to_bytes();
                let half = Ok(Frame::data(sent.slice(..sent.len() / 2)));
                Ok(Response::new(StreamBody::new(stream::iter([half, Err(reset())])).boxed_unsync()))
            }
            Disposition::Truncate => {
                let sent = self.answer(method, call, body).into_body().collect().await?.to_bytes();
                Ok(reply(200, sent.slice(..sent.len() / 2)))
            }
            Disposition::Kill { done } => {
                if done {
                    self.answer(method, call, body);
                }
                self.link.cut();
                pending().await
            }
        }
    }

    fn answer(&self, method: &str, call: Call, body: &Bytes) -> Answer {
        let place = format!("{} {} {}", call.verb.word(), call.key, call.subresource);
        self.shared.lock().late(self.link.asked());
        let answer = self.perform(call);
        self.shared.lock().late(None);
        let (code, sent) = match &answer {
            Ok(Done::Object(code, json)) => (*code, json.clone()),
            Ok(Done::Stream(_)) => (200, Bytes::new()),
            Err(status) => (status.code, status.message.clone().into()),
        };
        self.note(method, &place, body, code, &sent);
        match answer {
            Ok(Done::Object(code, json)) => reply(code, json),
            Ok(Done::Stream(answer)) => answer,
            Err(status) => refuse(&status, None),
        }
    }

    fn note(&self, method: &str, place: &str, body: &[u8], code: u16, sent: &[u8]) {
        let now = self.shared.clock().now();
        self.shared.trace().request(now, self.link.name(), method, place, body, code, sent);
    }

    /// Events are taken and told of, but not stored: nobody in the simulation reads them from the server. Their names and times come from the
    /// system's clock, and so are left out of the trace.
    fn event(&self, body: &Bytes) -> Answer {
        let event: Value = serde_json::from_slice(body).unwrap_or_default();
        let part = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let about = event["regarding"]["name"].as_str().unwrap_or_default();
        let now = self.shared.clock().now();
        self.shared.trace().event(now, about, &part("reason"), &part("note"));
        reply(201, body.clone())
    }

    fn perform(&self, call: Call) -> Result<Done, Status> {
        let mut caller = self.caller.clone();
        if let Some(manager) = call.manager {
            caller.manager = manager.into();
        }
        let part = match call.subresource.as_str() {
            "" => Part::Main,
            "scale" if call.key.kind.served().scale() => Part::Main,
            "status" if call.key.kind.served().status => Part::Status,
            _ => return Err(Status::unknown_place()),
        };
        let key = call.key;
        let scaled = call.subresource == "scale";
        let scope = |selector| watch::Scope { key: key.clone(), selector };
        let mut server = self.shared.lock();
        let object = match call.verb {
            Verb::Get => server.get(&key)?,
            Verb::List(selector) => {
                // What is asked for by name proves something, and is never allowed to be older than now.
                let behind = if selector.is_name() { Duration::ZERO } else { self.link.behind() };
                return Ok(list(&server, &scope(selector), behind));
            }
            Verb::Watch { selector, from, seconds, initial } => {
                drop(server);
                let time = Duration::from_secs(seconds);
                let events =
                    watch::events(self.shared.clone(), self.link.clone(), scope(selector), from, time, initial);
                let body = StreamBody::new(events.map(|event| event.map_err(BoxError::from))).boxed_unsync();
                return Ok(Done::Stream(Response::new(body)));
            }
            Verb::Create(object) => {
                if !object["metadata"]["resourceVersion"].is_null() {
                    let why = "resourceVersion should not be set on objects to be created";
                    return Err(Status::new(500, "", why));
                }
                let object = server.create(&caller, key.kind, &key.namespace, object)?;
                return Ok(Done::Object(201, object.json()));
            }
            Verb::Replace(scale) if scaled => {
                server.update(&caller, &key, part, |object| scale::set(&key, object, &scale))?
            }
            Verb::Patch(patch) if scaled => server.update(&caller, &key, part, |object| {
                let scale = patch.apply(&key, &scale::of(object))?;
                scale::set(&key, object, &scale)
            })?,
            Verb::Replace(object) => server.replace(&caller, &key, part, object)?,
            Verb::Patch(patch) => {
                let new = server.get(&key).is_err();
                let object = server.patch(&caller, &key, part, &patch)?;
                return Ok(Done::Object(if new { 201 } else { 200 }, object.json()));
            }
            Verb::Delete(conditions, grace) => {
                let before = server.get(&key)?;
                let left = server.delete(&caller, &key, &conditions, grace)?;
                let version = server.store().version();
                return Ok(Done::Object(
                    200,
                    left.map_or_else(|| farewell(&key, &before, version), |left| left.json()),
                ));
            }
        };
        Ok(Done::Object(200, if scaled { scale::of(&object).to_string().into() } else { object.json() }))
    }
}

/// How long a client waits for the answer to an event.
const EVENT_PATIENCE: Duration = Duration::from_secs(5);

enum Done {
    Object(u16, Bytes),
    Stream(Answer),
}

fn reset() -> BoxError {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset").into()
}

fn timed_out() -> BoxError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time").into()
}

fn never(infallible: Infallible) -> BoxError {
    match infallible {}
}

fn list(server: &Server, scope: &watch::Scope, behind: Duration) -> Done {
    let kind = scope.key.kind;
    let (objects, version) = scope.list(server, behind);
    let mut text = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{}\"}},\"items\":[",
        kind.served().kind,
        kind.api_version(),
        version
    )
    .into_bytes();
    for (index, object) in objects.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend_from_slice(&object.json());
    }
    text.extend_from_slice(b"]}");
    Done::Object(200, text.into())
}

/// What the API server says of an object that is gone at once. Of Services it gives the object instead, at the version of its end.
fn farewell(key: &super::Key, before: &super::Object, version: u64) -> Bytes {
    if key.kind == Kind::Service {
        let mut last = before.value().clone();
        last["metadata"]["resourceVersion"] = version.to_string().into();
        return last.to_string().into();
    }
    let served = key.kind.served();
    let details =
        json!({"name": key.name, "group": served.group, "kind": served.plural, "uid": before["metadata"]["uid"]});
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
        .to_string()
        .into()
}

fn reply(code: u16, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(never).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    answer
}

fn refuse(status: &Status, again: Option<u32>) -> Answer {
    let mut answer = reply(status.code, status.body().to_string());
    if let Some(seconds) = again {
        answer.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
    }
    answer
}

impl tower::Service<Request<Body>> for Service {
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.link.part(self.clone().serve(request)).boxed()
    }
}
