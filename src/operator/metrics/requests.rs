//! Requests to the API server, counted and timed where they leave the client: whatever part of the operator sends them.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, Uri, header::CONTENT_TYPE};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use tokio::time::Instant;
use tower::{Layer, Service};

use super::Buckets;

#[derive(Debug)]
pub(super) struct Requests {
    answers: Family<Answer, Counter>,
    durations: Family<Kind, Histogram, Buckets>,
}

impl Requests {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let answers = Family::default();
        let help = "Requests to the API server, by status code; Error: no answer came, Cancelled: nobody waited for it any more";
        registry.register("api_requests", help, answers.clone());
        let durations = Family::new_with_constructor(Buckets);
        let help = "Time until the API server began to answer; of a watch, until it began to send";
        registry.register_with_unit("api_request_duration", help, Unit::Seconds, durations.clone());
        Self { answers, durations }
    }
}

/// What is asked, without for which object.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    verb: &'static str,
    resource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answer {
    verb: &'static str,
    resource: String,
    code: Code,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Code {
    Status(StatusCode),
    Error,
    Cancelled,
}

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => EncodeLabelValue::encode(&status.as_str(), encoder),
            Self::Error => EncodeLabelValue::encode(&"Error", encoder),
            Self::Cancelled => EncodeLabelValue::encode(&"Cancelled", encoder),
        }
    }
}

impl Kind {
    /// The verb as RBAC calls it (and `apply` for server-side apply), the resource with its subresource.
    fn of<B>(request: &Request<B>) -> Self {
        let (resource, named) = resource(request.uri());
        let verb = match *request.method() {
            Method::GET if watches(request.uri()) => "watch",
            Method::GET if named => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH if applies(request) => "apply",
            Method::PATCH => "patch",
            Method::DELETE if named => "delete",
            Method::DELETE => "deletecollection",
            _ => "other",
        };
        Self { verb, resource }
    }
}

/// Reads `/api/v1[/namespaces/<ns>]/<resource>[/<name>[/<subresource>]]`, the same below `/apis/<group>/<version>`. Says also whether it is
/// about one object. Anything else (discovery, version) is `none`.
fn resource(uri: &Uri) -> (String, bool) {
    let mut parts: &[&str] = &uri.path().trim_matches('/').split('/').collect::<Vec<_>>();
    parts = match parts {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        _ => &[],
    };
    if let ["namespaces", _, rest @ ..] = parts
        && !rest.is_empty()
    {
        parts = rest;
    }
    match parts {
        [] => ("none".into(), true),
        [resource] => ((*resource).into(), false),
        [resource, _] => ((*resource).into(), true),
        [resource, _, subresource @ ..] => (format!("{resource}/{}", subresource.join("/")), true),
    }
}

fn watches(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1"))
}

fn applies<B>(request: &Request<B>) -> bool {
    request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/apply-patch"))
}

/// Wraps the service of a kube client into a [`CountRequests`].
#[derive(Clone, Debug)]
pub struct CountRequestsLayer(Arc<Requests>);

impl CountRequestsLayer {
    pub(super) fn new(requests: Arc<Requests>) -> Self {
        Self(requests)
    }
}

impl<S> Layer<S> for CountRequestsLayer {
    type Service = CountRequests<S>;

    fn layer(&self, inner: S) -> CountRequests<S> {
        CountRequests { inner, requests: self.0.clone() }
    }
}

/// A service that counts and times what passes through it.
#[derive(Clone, Debug)]
pub struct CountRequests<S> {
    inner: S,
    requests: Arc<Requests>,
}

impl<S, A, B> Service<Request<A>> for CountRequests<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let under_way = UnderWay {
            requests: self.requests.clone(),
            kind: Kind::of(&request),
            started: Instant::now(),
            code: Code::Cancelled,
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            under_way.ended(answer.as_ref().map_or(Code::Error, |answer| Code::Status(answer.status())));
            answer
        })
    }
}

/// Counts when it is dropped, so that a request that nobody waits for any more counts too.
struct UnderWay {
    requests: Arc<Requests>,
    kind: Kind,
    started: Instant,
    code: Code,
}

impl UnderWay {
    fn ended(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Kind { verb, resource } = self.kind.clone();
        self.requests.durations.get_or_create(&self.kind).observe(self.started.elapsed().as_secs_f64());
        self.requests.answers.get_or_create(&Answer { verb, resource, code: self.code }).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending, time::Duration};

    use futures::FutureExt;
    use tower::ServiceExt;

    use super::*;
    use crate::metrics::Metrics;

    fn request(method: &str, uri: &str) -> Request<()> {
        Request::builder().method(method).uri(uri).body(()).unwrap()
    }

    #[test]
    fn requests_are_told_apart_by_verb_and_resource_never_by_object() {
        let group = "/apis/lockkeeper.dev/v1alpha1";
        for (method, uri, expected) in [
            ("GET", "/api/v1/namespaces/shop/services/checkout".into(), "get services"),
            ("GET", "/api/v1/services?limit=500".into(), "list services"),
            ("GET", "/api/v1/namespaces/shop/services?watch=true&resourceVersion=7".into(), "watch services"),
            ("GET", "/api/v1/services?labelSelector=watch%3Dtrue".into(), "list services"),
            ("GET", "/api/v1/namespaces?watch=1".into(), "watch namespaces"),
            ("GET", "/api/v1/namespaces/shop".into(), "get namespaces"),
            ("PATCH", format!("{group}/namespaces/shop/releases/checkout/status"), "patch releases/status"),
            ("POST", format!("{group}/namespaces/shop/decisions"), "create decisions"),
            ("PUT", "/apis/apps/v1/namespaces/shop/deployments/checkout/scale".into(), "update deployments/scale"),
            ("DELETE", "/apis/apps/v1/namespaces/shop/replicasets/checkout-5d8f".into(), "delete replicasets"),
            ("DELETE", "/apis/apps/v1/namespaces/shop/replicasets".into(), "deletecollection replicasets"),
            ("GET", "/version".into(), "get none"),
            ("GET", "/apis".into(), "get none"),
            ("GET", "/apis/apps/v1".into(), "get none"),
        ] {
            let Kind { verb, resource } = Kind::of(&request(method, &uri));
            assert_eq!(format!("{verb} {resource}"), expected, "{method} {uri}");
        }
    }

    #[test]
    fn server_side_apply_is_a_verb_of_its_own() {
        let mut request = request("PATCH", "/apis/apps/v1/namespaces/shop/deployments/checkout");
        assert_eq!(Kind::of(&request).verb, "patch");
        request.headers_mut().insert(CONTENT_TYPE, "application/apply-patch+yaml".parse().unwrap());
        assert_eq!(Kind::of(&request).verb, "apply");
    }

    #[tokio::test(start_paused = true)]
    async fn answers_errors_and_cancelled_requests_all_count() {
        let metrics = Metrics::new();
        let service =
            metrics.requests().layer(tower::service_fn(async |request: Request<()>| match request.uri().path() {
                "/api/v1/services" => {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    Ok(Response::builder().status(409).body(()).unwrap())
                }
                "/api/v1/pods" => Err("connection refused"),
                _ => pending().await,
            }));
        let send = |uri| service.clone().oneshot(request("POST", uri));
        assert!(send("/api/v1/services").await.is_ok());
        assert!(send("/api/v1/pods").await.is_err());
        assert!(send("/api/v1/secrets").now_or_never().is_none());

        let page = metrics.encode().unwrap();
        for expected in [
            r#"lockkeeper_api_requests_total{verb="create",resource="services",code="409"} 1"#,
            r#"lockkeeper_api_requests_total{verb="create",resource="pods",code="Error"} 1"#,
            r#"lockkeeper_api_requests_total{verb="create",resource="secrets",code="Cancelled"} 1"#,
            r#"lockkeeper_api_request_duration_seconds_bucket{le="0.05",verb="create",resource="services"} 1"#,
            r#"lockkeeper_api_request_duration_seconds_bucket{le="0.025",verb="create",resource="services"} 0"#,
        ] {
            assert!(page.contains(expected), "{expected} is missing in\n{page}");
        }
    }

    #[tokio::test]
    async fn the_layer_fits_a_kube_client() {
        let metrics = Metrics::new();
        let answer = tower::service_fn(async |_: Request<kube::client::Body>| {
            Ok::<_, Infallible>(Response::new(kube::client::Body::from(br#"{"major":"1","minor":"36"}"#.to_vec())))
        });
        let client = kube::client::ClientBuilder::new(answer, "default").with_layer(&metrics.requests()).build();
        let _ = client.apiserver_version().await;
        assert!(metrics.encode().unwrap().contains(r#"{verb="get",resource="none",code="200"} 1"#));
    }
}
