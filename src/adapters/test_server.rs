//! A web server on loopback that answers as a test says and keeps what it was asked.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{CONTENT_TYPE, HeaderMap},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use crate::{
    address::AddressPolicy,
    http::{HttpClient, Limits},
};

pub(crate) type Reply = Response<BoxBody<Bytes, io::Error>>;

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) form: Vec<(String, String)>,
}

impl Received {
    /// The only value of the form's field `name`.
    pub(crate) fn field(&self, name: &str) -> &str {
        let values: Vec<_> = self.form.iter().filter(|(field, _)| field == name).collect();
        assert_eq!(values.len(), 1, "{name} in {:?}", self.form);
        &values[0].1
    }
}

/// The server; it ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    received: UnboundedReceiver<Received>,
}

impl Server {
    /// Starts to answer every request by `handler`.
    pub(crate) async fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = unbounded_channel();
        let handler = Arc::new(handler);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (handler, sender) = (Arc::clone(&handler), sender.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (handler, sender) = (Arc::clone(&handler), sender.clone());
                    async move {
                        let request = receive(request).await;
                        let reply = handler(&request);
                        sender.send(request).ok();
                        Ok::<_, Infallible>(reply)
                    }
                });
                // A connection that a test breaks off is no fault of the server.
                tokio::spawn(async move {
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok()
                });
            }
        });
        Self { address, received }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests since the last call.
    pub(crate) fn received(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.received.try_recv().ok()).collect()
    }
}

async fn receive(request: Request<Incoming>) -> Received {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let form = Url::parse(&format!("http://form/?{}", std::str::from_utf8(&body).unwrap())).unwrap();
    Received {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        headers: head.headers,
        form: form.query_pairs().into_owned().collect(),
    }
}

/// A client that may reach the server's loopback, and goes there directly whatever the environment says of proxies.
pub(crate) fn client() -> HttpClient {
    client_with(Limits::default(), "127.0.0.0/8")
}

pub(crate) fn impatient_client() -> HttpClient {
    client_with(Limits { total: Duration::from_millis(100), ..Limits::default() }, "127.0.0.0/8")
}

pub(crate) fn client_with(limits: Limits, allowed: &str) -> HttpClient {
    HttpClient::direct(AddressPolicy::new(vec![allowed.parse().unwrap()]), limits).unwrap()
}

pub(crate) fn reply(status: u16, content_type: &str, body: impl Into<Bytes>) -> Reply {
    with_body(status, content_type, Full::new(body.into()).map_err(|never| match never {}).boxed())
}

pub(crate) fn json(body: impl Into<Bytes>) -> Reply {
    reply(200, "application/json", body)
}

pub(crate) fn with_header(mut reply: Reply, name: &'static str, value: &str) -> Reply {
    reply.headers_mut().insert(name, value.parse().unwrap());
    reply
}

/// The beginning of an answer, and then nothing more, with the connection open.
pub(crate) fn stalled(beginning: &'static str) -> Reply {
    let frames = stream::iter([Ok(Frame::data(Bytes::from(beginning)))]).chain(stream::pending());
    with_body(200, "application/json", BodyExt::boxed(StreamBody::new(frames)))
}

/// The beginning of an answer, and then the connection breaks.
pub(crate) fn cut_off(beginning: &'static str) -> Reply {
    let broken = io::Error::from(io::ErrorKind::BrokenPipe);
    let frames = stream::iter([Ok(Frame::data(Bytes::from(beginning))), Err(broken)]);
    with_body(200, "application/json", BodyExt::boxed(StreamBody::new(frames)))
}

/// An answer of `pieces` times 64 KiB whose length is not told beforehand.
pub(crate) fn flood(pieces: usize) -> Reply {
    let frames = stream::iter((0..pieces).map(|_| Ok(Frame::data(Bytes::from_static(&[b' '; 1 << 16])))));
    with_body(200, "application/json", BodyExt::boxed(StreamBody::new(frames)))
}

fn with_body(status: u16, content_type: &str, body: BoxBody<Bytes, io::Error>) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = StatusCode::from_u16(status).unwrap();
    reply.headers_mut().insert(CONTENT_TYPE, content_type.parse().unwrap());
    reply
}
