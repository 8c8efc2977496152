//! The pages that Kubernetes and Prometheus ask for: `/healthz`, `/readyz` and `/metrics`.

use std::{
    collections::BTreeMap, convert::Infallible, fmt::Write, future::Future, io, net::SocketAddr, sync::Arc,
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use crate::metrics::{self, Metrics};

/// Connections served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// What a connection may take from its first byte to its last. Each serves one request.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(30);
/// What pages under way may still take once the server is shut down.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(3);

/// What has to be there before this process is ready: each cache, custom resource definition and admission policy by its name.
/// Cheap to clone; all clones are the same. Not ready as long as nothing is required.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<String, State>>>);

#[derive(Clone, Debug, PartialEq)]
enum State {
    Met,
    Missing(String),
    /// Not there either, but this process does its work without.
    Lacking(String),
}

impl Readiness {
    /// Adds a requirement, which is missing at first because of `why`: a short sentence for people that names the mend, where there is one.
    pub fn require(&self, name: impl Into<String>, why: impl Into<String>) -> Requirement {
        let requirement = Requirement { name: name.into(), readiness: self.clone() };
        requirement.missing(why);
        requirement
    }

    /// Adds what ought to be there, but without which this process is ready all the same; it is lacking at first because of `why`.
    pub fn recommend(&self, name: impl Into<String>, why: impl Into<String>) -> Requirement {
        let requirement = Requirement { name: name.into(), readiness: self.clone() };
        requirement.lacking(why);
        requirement
    }

    /// Whether all is there that this process cannot do without.
    pub fn is_ready(&self) -> bool {
        let states = self.0.lock();
        !states.is_empty()
            && states.values().all(|state| match state {
                State::Met | State::Lacking(_) => true,
                State::Missing(_) => false,
            })
    }

    /// A line for each requirement, in the manner of the API server's own page.
    fn page(&self) -> String {
        let mut page = String::new();
        for (name, state) in &*self.0.lock() {
            // Writing to a string cannot fail.
            let _ = match state {
                State::Met => writeln!(page, "[+] {name}"),
                State::Missing(why) => writeln!(page, "[-] {name}: {why}"),
                State::Lacking(why) => writeln!(page, "[!] {name}: {why}"),
            };
        }
        if page.is_empty() {
            page.push_str("[-] starting: nothing has been looked at yet\n");
        }
        page
    }
}

/// One thing that has to be there.
#[derive(Clone, Debug)]
pub struct Requirement {
    name: String,
    readiness: Readiness,
}

impl Requirement {
    /// It is there. Says whether that is news.
    pub fn met(&self) -> bool {
        self.set(State::Met)
    }

    /// It is not there, because of `why`. Says whether that is news.
    pub fn missing(&self, why: impl Into<String>) -> bool {
        self.set(State::Missing(why.into()))
    }

    /// It is not there, because of `why`, and this process works without. Says whether that is news.
    pub fn lacking(&self, why: impl Into<String>) -> bool {
        self.set(State::Lacking(why.into()))
    }

    fn set(&self, state: State) -> bool {
        self.readiness.0.lock().insert(self.name.clone(), state.clone()) != Some(state)
    }
}

/// What the pages tell.
#[derive(Clone, Debug)]
pub struct Pages {
    /// For `/readyz`.
    pub readiness: Readiness,
    /// For `/metrics`.
    pub metrics: Metrics,
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address}: choose another address with --listen")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// Opens the port.
///
/// # Errors
/// When the address is in use, is not this machine's or needs privileges.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

/// Serves the pages until `shutdown`, then waits a moment for those under way. Nothing that a client does ends it.
pub async fn serve(listener: TcpListener, pages: Pages, shutdown: impl Future<Output = ()>) {
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            while connections.try_join_next().is_some() {}
            if connections.len() >= CONNECTIONS_MAX {
                connections.join_next().await;
            }
            match listener.accept().await {
                Ok((stream, _)) => {
                    connections.spawn(timeout(CONNECTION_TIME_MAX, connection(stream, pages.clone())));
                }
                Err(error) => {
                    // Out of file descriptors, mostly: it passes, and trying at once does not help.
                    warn!(%error, "failed to accept a connection");
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    };
    tokio::select! {
        () = shutdown => {}
        () = accept => {}
    }
    drop(listener);
    let drain = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_TIME_MAX, drain).await.is_err() {
        debug!("pages were still being read when the server ended");
    }
}

async fn connection(stream: TcpStream, pages: Pages) {
    let service = service_fn(|request| {
        let pages = pages.clone();
        async move { Ok::<_, Infallible>(pages.answer(&request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        // Both callers come seldom: a connection that stays open would only be one more thing to limit.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        debug!(%error, "a client broke off");
    }
}

impl Pages {
    async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        const TEXT: &str = "text/plain; charset=utf-8";
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is understood here\n".into());
            answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            // An answer at all is the news: the process runs and its threads are not stuck.
            "/healthz" => page(StatusCode::OK, TEXT, "ok\n".into()),
            "/readyz" => {
                let status = if self.readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                page(status, TEXT, self.readiness.page())
            }
            "/metrics" => {
                // With thousands of releases that takes a while, which reconciles shall not wait for.
                let metrics = self.metrics.clone();
                match tokio::task::spawn_blocking(move || metrics.encode()).await {
                    Ok(Ok(text)) => page(StatusCode::OK, metrics::CONTENT_TYPE, text),
                    Ok(Err(_)) | Err(_) => {
                        page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "failed to write the metrics\n".into())
                    }
                }
            }
            _ => page(StatusCode::NOT_FOUND, TEXT, "there are /healthz, /readyz and /metrics\n".into()),
        }
    }
}

fn page(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::oneshot,
    };

    use super::*;

    fn pages() -> Pages {
        Pages { readiness: Readiness::default(), metrics: Metrics::new() }
    }

    async fn get(pages: &Pages, path: &str) -> (u16, String) {
        let answer = pages.answer(&Request::get(path).body(()).unwrap()).await;
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(text.into()).unwrap())
    }

    #[tokio::test]
    async fn it_is_ready_when_all_is_there_and_otherwise_says_what_is_missing() {
        let pages = pages();
        assert_eq!(get(&pages, "/readyz").await, (503, "[-] starting: nothing has been looked at yet\n".into()));

        let cache = pages.readiness.require("cache releases", "the first list has not arrived");
        let policy = pages.readiness.require("policy lockkeeper-decision", "not looked for yet");
        policy.missing("not found: apply config/default");
        cache.met();
        let expected = "[+] cache releases\n[-] policy lockkeeper-decision: not found: apply config/default\n";
        assert_eq!(get(&pages, "/readyz").await, (503, expected.into()));

        policy.met();
        assert_eq!(get(&pages, "/readyz").await, (200, "[+] cache releases\n[+] policy lockkeeper-decision\n".into()));
        assert!(pages.readiness.is_ready());

        cache.missing("the watch has failed");
        assert_eq!(get(&pages, "/readyz").await.0, 503);
    }

    #[tokio::test]
    async fn what_is_recommended_is_named_but_leaves_it_ready() {
        let pages = pages();
        let policy = pages.readiness.recommend("policy lockkeeper-hold", "not looked for yet");
        pages.readiness.require("cache releases", "the first list has not arrived").met();
        assert!(policy.lacking("it is missing: apply config/default"));
        assert!(!policy.lacking("it is missing: apply config/default"), "that is no news");
        let expected = "[+] cache releases\n[!] policy lockkeeper-hold: it is missing: apply config/default\n";
        assert_eq!(get(&pages, "/readyz").await, (200, expected.into()));
        assert!(policy.met());
        assert!(get(&pages, "/readyz").await.1.contains("[+] policy lockkeeper-hold"));
    }

    #[tokio::test]
    async fn it_is_healthy_whether_or_not_it_is_ready() {
        assert_eq!(get(&pages(), "/healthz").await, (200, "ok\n".into()));
    }

    #[tokio::test]
    async fn metrics_are_served_in_their_own_format() {
        let answer = pages().answer(&Request::get("/metrics").body(()).unwrap()).await;
        assert_eq!(answer.headers()[header::CONTENT_TYPE], metrics::CONTENT_TYPE);
        let (status, text) = get(&pages(), "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("lockkeeper_leader 0"), "{text}");
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_told_what_there_is() {
        let (status, text) = get(&pages(), "/").await;
        assert_eq!(status, 404);
        assert!(text.contains("/metrics"), "{text}");
        let answer = pages().answer(&Request::post("/healthz").body(()).unwrap()).await;
        assert_eq!((answer.status().as_u16(), &answer.headers()[header::ALLOW]), (405, &"GET, HEAD".parse().unwrap()));
    }

    #[tokio::test]
    async fn over_the_network_each_connection_is_answered_and_the_server_ends_when_told() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, wanted) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, pages(), async move { wanted.await.unwrap() }));

        // More than are served at once: those that break off without a word must not keep others out.
        for _ in 0..CONNECTIONS_MAX * 2 {
            drop(TcpStream::connect(address).await.unwrap());
        }
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: lockkeeper\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{answer}");

        shutdown.send(()).unwrap();
        server.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
    }

    #[tokio::test]
    async fn an_address_that_is_taken_names_the_flag() {
        let taken = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = listen(taken.local_addr().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("--listen"), "{error}");
    }
}
