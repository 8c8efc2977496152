//! Where a service is, and how the operator identifies itself there.

use std::{fmt, str::FromStr, sync::Arc};

use reqwest::{RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};

use crate::hold::Hold;

/// A base address to which paths are added, like `https://mimir.monitoring/prometheus`, and the credentials for it.
/// Clones share what the service says about when to ask again, so keep one for all who ask.
#[derive(Clone, Debug)]
pub struct Endpoint {
    base: Url,
    credentials: Option<Credentials>,
    hold: Arc<Hold>,
}

/// What a service is shown so that it answers. Has no `Display`; `Debug` is redacted.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A token, sent as `Authorization: Bearer`.
    Bearer(SecretString),
    /// A name and a password, sent as `Authorization: Basic`.
    Basic {
        /// Who; without a colon.
        username: String,
        /// Their password.
        password: SecretString,
    },
}

/// Why a text is no base address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is none at all, or of another scheme.
    #[error("write http:// or https://, a host and perhaps a port and a path, like http://prometheus.monitoring:9090")]
    Malformed,
    /// It has a user or a password in it, which would be shown in logs.
    #[error("leave credentials out of the address, which logs show: a proxy in front of the server can add them")]
    Credentials,
    /// It has more than a path.
    #[error("leave out what follows the path: queries are added to it")]
    Query,
}

impl Endpoint {
    /// The same place, asked with `credentials`, and at once: what others were told does not count for these.
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), hold: Arc::default(), ..self }
    }

    /// The address of `path`, which begins with `/`, below the base.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }

    /// Until when the service is to be left alone.
    pub(crate) fn hold(&self) -> &Hold {
        &self.hold
    }

    pub(crate) fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    pub(crate) fn authorize(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.credentials {
            Some(Credentials::Bearer(token)) => request.bearer_auth(token.expose_secret()),
            Some(Credentials::Basic { username, password }) => {
                request.basic_auth(username, Some(password.expose_secret()))
            }
            None => request,
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let base: Url = text.parse().map_err(|_| EndpointError::Malformed)?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(EndpointError::Malformed);
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(EndpointError::Query);
        }
        Ok(Self { base, credentials: None, hold: Arc::default() })
    }
}

/// Scheme, host and port: what errors call the service.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base.origin().ascii_serialization())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_added_below_the_base_with_or_without_a_slash_at_its_end() {
        for (base, url) in [
            ("http://prometheus:9090", "http://prometheus:9090/api/v1/query"),
            ("http://prometheus:9090/", "http://prometheus:9090/api/v1/query"),
            ("https://mimir/prometheus", "https://mimir/prometheus/api/v1/query"),
            ("https://vm/select/0/prometheus//", "https://vm/select/0/prometheus/api/v1/query"),
        ] {
            assert_eq!(base.parse::<Endpoint>().unwrap().url("/api/v1/query").as_str(), url);
        }
    }

    #[test]
    fn what_is_no_base_address_is_refused_with_its_reason() {
        for (text, error) in [
            ("", EndpointError::Malformed),
            ("prometheus:9090", EndpointError::Malformed),
            ("ftp://prometheus", EndpointError::Malformed),
            ("http://", EndpointError::Malformed),
            ("http://user:marker@prometheus", EndpointError::Credentials),
            ("http://prometheus/?query=up", EndpointError::Query),
            ("http://prometheus/#graph", EndpointError::Query),
        ] {
            assert_eq!(text.parse::<Endpoint>().err(), Some(error), "{text}");
        }
    }

    #[test]
    fn neither_display_nor_debug_show_credentials() {
        let plain: Endpoint = "https://mimir/prometheus".parse().unwrap();
        let basic = Credentials::Basic { username: "reader".into(), password: "marker".into() };
        for credentials in [Credentials::Bearer("marker".into()), basic] {
            let endpoint = plain.clone().with_credentials(credentials);
            assert_eq!(endpoint.to_string(), "https://mimir");
            assert!(!format!("{endpoint:?}").contains("marker"));
        }
    }
}
