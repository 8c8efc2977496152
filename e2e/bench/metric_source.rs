//! A metrics provider that turns bad when told to: it speaks Prometheus' API for instant queries, as far as the operator asks it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

/// The query of every check. Nothing in it has to be escaped in a form, and the name tells who asks.
pub const QUERY: &str = "bench_{{ release }}";
const ASKED_BY: &str = "query=bench_";

/// A running one; it ends with this program.
#[derive(Clone)]
pub struct MetricSource {
    url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    bad: AtomicBool,
    answers: Mutex<HashMap<String, Answers>>,
}

/// What a Release was told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answers {
    /// How often that all is well.
    pub good: u32,
    /// When for the first time that it is not.
    pub first_bad: Option<Timestamp>,
}

impl MetricSource {
    /// Starts one whose answers are good.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start() -> Result<MetricSource> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port for the metric source")?;
        let source = MetricSource { url: format!("http://{}", listener.local_addr()?), state: Arc::default() };
        let state = source.state.clone();
        tokio::spawn(async move {
            loop {
                // A connection that is gone before it was taken is tried again by its client.
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, state.clone()));
                }
            }
        });
        Ok(source)
    }

    /// As `http://host:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on every answer is bad.
    pub fn turn_bad(&self) {
        self.state.bad.store(true, Ordering::SeqCst);
    }

    /// What was answered, by name of the Release.
    pub fn answers(&self) -> HashMap<String, Answers> {
        self.state.answers.lock().clone()
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    // Else the kernel holds back small answers.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| answer(&state, request));
    // However a connection ends, it is over.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(state: &State, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let form = String::from_utf8_lossy(&body);
    let asked_by = form.split('&').find_map(|field| field.strip_prefix(ASKED_BY)).unwrap_or_default();
    let now = Timestamp::now();
    let bad = state.bad.load(Ordering::SeqCst);
    {
        let mut answers = state.answers.lock();
        let answers = answers.entry(asked_by.to_owned()).or_default();
        if bad {
            answers.first_bad.get_or_insert(now);
        } else {
            answers.good += 1;
        }
    }
    let value = if bad { "1" } else { "0" };
    let result = json!([{"metric": {}, "value": [now.as_second(), value]}]);
    let body = json!({"status": "success", "data": {"resultType": "vector", "result": result}}).to_string();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}
