//! The one HTTP client through which the operator talks to the outside.
//!
//! Every request has limits of time and size, and only reaches addresses that the [`AddressPolicy`] permits. A host name
//! is resolved once for each connection, by a resolver that drops what is not permitted, and the connection is made to
//! exactly those addresses: a name that changes its address between check and use gains nothing. Where the environment
//! names a proxy (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`), the proxy resolves names and has to hold such a policy itself.

mod fault;
mod resolve;
mod retry_after;
mod tls;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{
    StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};
use serde::de::DeserializeOwned;

use self::resolve::PolicyResolver;
pub use self::tls::BundleError;
use crate::{
    address::AddressPolicy,
    endpoint::Endpoint,
    error::{Error, Fault},
};

const REDIRECTS: usize = 3;
/// Shorter than load balancers keep an idle connection (60s), so that we never write to one that is just being closed.
const IDLE: Duration = Duration::from_secs(30);

/// How long a request may take and how much an answer may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first look-up to the last byte; default 10s.
    pub total: Duration,
    /// Until a connection stands, TLS included; default 3s.
    pub connect: Duration,
    /// Bytes of an answer's body; default 2 MiB.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total: Duration::from_secs(10), connect: Duration::from_secs(3), body: 2 << 20 }
    }
}

/// The client. Clones are cheap and share their connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    inner: reqwest::Client,
    new_builder: fn() -> reqwest::ClientBuilder,
    addresses: Arc<AddressPolicy>,
    limits: Limits,
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The CA bundle is no such thing.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// TLS cannot be set up.
    #[error("failed to set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The client cannot be set up.
    #[error("failed to set up the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// What came back, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    retry_after: Option<Duration>,
    is_html: bool,
    body: Vec<u8>,
}

impl HttpClient {
    /// A client that reaches what `addresses` permits. It trusts the system's certificate authorities, or those in
    /// `SSL_CERT_FILE`; a system without any can still reach services over plain HTTP.
    pub fn new(addresses: AddressPolicy, limits: Limits) -> Result<Self, SetupError> {
        Self::build(reqwest::Client::builder, tls::system_authorities(), Arc::new(addresses), limits)
    }

    /// A client that heeds no proxy: tests reach their own servers wherever they run.
    #[cfg(test)]
    pub(crate) fn direct(addresses: AddressPolicy, limits: Limits) -> Result<Self, SetupError> {
        let builder = || reqwest::Client::builder().no_proxy();
        Self::build(builder, tls::system_authorities(), Arc::new(addresses), limits)
    }

    /// The same client for services whose certificates are signed by an authority in `bundle` (PEM); by those alone, not
    /// by the system's. Its connections are its own.
    pub fn trusting(&self, bundle: &[u8]) -> Result<Self, SetupError> {
        let authorities = tls::bundled_authorities(bundle)?;
        Self::build(self.new_builder, authorities, Arc::clone(&self.addresses), self.limits)
    }

    fn build(
        new_builder: fn() -> reqwest::ClientBuilder,
        authorities: rustls::RootCertStore,
        addresses: Arc<AddressPolicy>,
        limits: Limits,
    ) -> Result<Self, SetupError> {
        let inner = new_builder()
            .user_agent(concat!("lockkeeper/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls::config(authorities)?)
            .timeout(limits.total)
            .connect_timeout(limits.connect)
            .pool_idle_timeout(IDLE)
            .redirect(redirect::Policy::custom(redirect))
            .referer(false)
            .dns_resolver(PolicyResolver::new(Arc::clone(&addresses)))
            .build()?;
        Ok(Self { inner, new_builder, addresses, limits })
    }

    /// The limits of each request.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Posts `form` to `path` below `endpoint`, unless that service asked to be left alone. Only method, host, path, status
    /// and time are logged.
    pub(crate) async fn post_form(
        &self,
        endpoint: &Endpoint,
        path: &'static str,
        form: &[(&str, &str)],
    ) -> Result<Answer, Error> {
        let started = Instant::now();
        if let Some(fault) = endpoint.hold().in_force(started) {
            return Err(Error::new(endpoint, fault));
        }
        let answer = self.exchange(endpoint, endpoint.url(path), form).await;
        let milliseconds = started.elapsed().as_millis();
        match &answer {
            Ok(Answer { status, .. }) => {
                tracing::debug!(method = "POST", host = %endpoint, path, status = status.as_u16(), milliseconds, "asked");
            }
            Err(fault) => {
                tracing::debug!(method = "POST", host = %endpoint, path, reason = fault.reason(), milliseconds, "asked");
            }
        }
        match &answer {
            Ok(answer) if !answer.status.is_success() => {
                endpoint.hold().note(answer.failure(), endpoint.has_credentials(), Instant::now());
            }
            Ok(_) | Err(_) => {}
        }
        answer.map_err(|fault| Error::new(endpoint, fault))
    }

    async fn exchange(&self, endpoint: &Endpoint, url: Url, form: &[(&str, &str)]) -> Result<Answer, Fault> {
        self.check_literal(&url)?;
        let request = self.inner.post(url).header(ACCEPT, "application/json").form(form);
        let fault = |error: reqwest::Error| fault::of_transport(&error, self.limits);
        let mut response = endpoint.authorize(request).send().await.map_err(fault)?;

        let headers = response.headers();
        let (status, is_html) = (response.status(), is_html(headers));
        let retry_after = retry_after::read(headers, jiff::Timestamp::now());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(fault)? {
            if body.len() + chunk.len() > self.limits.body {
                return Err(Fault::AnswerTooLarge { limit: self.limits.body });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, retry_after, is_html, body })
    }

    /// An address that is written as a number never passes the resolver.
    fn check_literal(&self, url: &Url) -> Result<(), Fault> {
        let host = url.host_str().unwrap_or_default();
        match host.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(address) if !self.addresses.permits(address) => Err(Fault::AddressNotAllowed { address }),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl Answer {
    /// An answer that came otherwise than through a client; none if that is no HTTP status.
    pub(crate) fn new(status: u16, is_html: bool, body: Vec<u8>) -> Option<Self> {
        let status = StatusCode::from_u16(status).ok()?;
        Some(Self { status, retry_after: None, is_html, body })
    }

    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        if self.is_html {
            return Err(Fault::HtmlPage);
        }
        serde_json::from_slice(&self.body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Fault::UnexpectedAnswer,
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof
            | serde_json::error::Category::Io => Fault::Malformed,
        })
    }

    /// What the status of an answer means that is no success.
    pub(crate) fn failure(&self) -> Fault {
        Fault::of_status(self.status.as_u16(), self.retry_after)
    }
}

/// Follows a redirect within the same origin, which cannot carry credentials or requests to other places. Only those that
/// keep method and body: the older kinds turn a POST into a GET and lose the query.
fn redirect(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let keeps_request = matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let same_origin = attempt.previous().last().is_some_and(|from| from.origin() == attempt.url().origin());
    if keeps_request && same_origin && attempt.previous().len() <= REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"))
}

#[cfg(test)]
mod tests;
