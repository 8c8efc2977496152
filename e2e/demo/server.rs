//! Connections to pods: answers, or a reset where nothing listens.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::directory::Directory;
use super::pod::{Life, Pod};

pub(super) async fn serve(listener: TcpListener, directory: Arc<Directory>) {
    loop {
        // An accept that fails (out of descriptors, connection gone) is that client's loss.
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, directory.clone()));
        }
    }
}

async fn connection(stream: TcpStream, directory: Arc<Directory>) {
    match stream.local_addr().map(|address| address.ip()) {
        Ok(address) if address.is_loopback() => own(stream, directory).await,
        Ok(address) => match directory.listening_at(address).await {
            Some(pod) => pods(stream, pod).await,
            None => reset(&stream),
        },
        Err(_) => reset(&stream),
    }
}

/// Dropped with this set, the connection is reset rather than closed.
fn reset(stream: &TcpStream) {
    // One that is already gone needs none.
    let _ = stream.set_zero_linger();
}

/// A connection to the demo app itself: service discovery for Prometheus.
async fn own(stream: TcpStream, directory: Arc<Directory>) {
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(match request.uri().path() {
            "/targets" => typed("application/json", directory.targets().to_string()),
            _ => with_status(StatusCode::NOT_FOUND, "only /targets is here".to_owned()),
        })
    });
    // However it ends, it is over.
    let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn pods(stream: TcpStream, pod: Arc<Pod>) {
    let mut life = pod.life.subscribe();
    let service = service_fn(|request| answer(pod.clone(), request));
    let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // However it ends, it is over.
        _ = connection.as_mut() => return,
        _ = life.wait_for(|life| !life.listens()) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn answer(pod: Arc<Pod>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = match request.uri().path() {
        "/metrics" => metrics(&pod),
        "/healthz" => identity(&pod),
        _ => page(&pod, &request).await,
    };
    if pod.life() != Life::Serving {
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn metrics(pod: &Pod) -> Response<Full<Bytes>> {
    match pod.metrics() {
        Ok(page) => typed("application/openmetrics-text; version=1.0.0; charset=utf-8", page),
        Err(error) => with_status(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn page(pod: &Pod, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let begun = Instant::now();
    let (latency, fails) = pod.next_answer();
    if !latency.is_zero() {
        sleep(latency).await;
    }
    let mut response = identity(pod);
    if fails {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    pod.count(response.status().as_u16(), request.method().as_str(), begun.elapsed());
    response
}

fn identity(pod: &Pod) -> Response<Full<Bytes>> {
    let body = json!({"pod": pod.name, "version": pod.version, "namespace": pod.namespace});
    typed("application/json", body.to_string())
}

fn typed(content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

fn with_status(status: StatusCode, message: String) -> Response<Full<Bytes>> {
    let mut response = typed("text/plain", message);
    *response.status_mut() = status;
    response
}
