//! The smallest HTTP client: one request on a connection of its own.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(10);

/// An answer with its whole body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Body, of any status.
    pub body: Bytes,
}

/// GET over plain HTTP, for probes, metrics and Prometheus' API.
///
/// # Errors
/// If there is no whole answer within 10 s.
pub async fn http_get(url: &str) -> Result<Answer> {
    let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
    let answer = timeout(LIMIT, get(&uri)).await.with_context(|| format!("no answer from {url} within 10 s"))?;
    answer.with_context(|| format!("no answer from {url}"))
}

async fn get(uri: &Uri) -> Result<Answer> {
    let Some(authority) = uri.authority().filter(|_| uri.scheme_str() == Some("http")) else {
        bail!("it is not of the form http://host:port/path");
    };
    let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(header::HOST, authority.as_str()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    Ok(Answer { status, body: response.into_body().collect().await?.to_bytes() })
}
