//! One request, on a connection of its own or on one kept from before.

use anyhow::{Context, Result};
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::totals::Answered;
use super::{Connections, Load};

type Connection = SendRequest<Empty<Bytes>>;

/// Sends the same request again and again.
#[derive(Debug)]
pub(crate) struct Client {
    address: String,
    load: Load,
    idle: Mutex<Vec<Connection>>,
}

impl Client {
    pub fn new(gateway: &str, load: &Load) -> Client {
        let address = gateway.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Client { address, load: load.clone(), idle: Mutex::new(Vec::new()) }
    }

    pub async fn request(&self) -> Result<Answered> {
        let mut connection = match self.take_idle().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let response = connection.send_request(self.build()?).await.context("no answer")?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.context("answer broken off")?.to_bytes();
        if self.load.connections == Connections::KeptAlive {
            self.idle.lock().push(connection);
        }
        Ok(Answered { status, from: serde_json::from_slice(&body).ok() })
    }

    /// One that the other side has not closed meanwhile.
    async fn take_idle(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle.lock().pop()?;
            if connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(&self.address).await.context("cannot connect to the gateway")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn build(&self) -> Result<Request<Empty<Bytes>>> {
        let mut request = Request::get(&self.load.path).header(header::HOST, &self.load.host).body(Empty::new())?;
        if self.load.connections == Connections::PerRequest {
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(request)
    }
}
