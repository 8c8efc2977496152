//! What goes wrong with outside systems, in words that are safe to show to anyone.
//!
//! Nothing here can hold a response's text or a secret: a [`Fault`] is made of numbers, addresses and our own words.

use std::{fmt, net::IpAddr, time::Duration};

use crate::endpoint::Endpoint;

/// A request to a service that gave no usable answer. Displayed as one sentence that names the service, what happened
/// and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    service: String,
    fault: Fault,
}

/// What to do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The service is there and asks for patience.
    Retry {
        /// Not before this time has passed; `None` where the service does not say.
        after: Option<Duration>,
    },
    /// The service does not accept who asks. Ask rarely, since many systems lock accounts, until credentials change.
    Refused,
    /// No whole answer came. Ask again with growing pauses.
    Unreachable,
    /// The same request will fail again until somebody mends the query, the address or the service.
    Misconfigured,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Too many requests.
    #[error("limits how often it may be asked (status 429){}", patience(.after))]
    Throttled {
        /// Not before this time has passed.
        after: Option<Duration>,
    },
    /// The service, or something in front of it, cannot answer now.
    #[error("cannot answer now (status {status}){}", patience(.after))]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// Not before this time has passed.
        after: Option<Duration>,
    },
    /// The service gave up on a query that takes too long.
    #[error("gave up on the query because it takes too long: make it cheaper, for one with a recording rule")]
    QueryTimedOut,
    /// Who asks is not known, or may not.
    #[error("refuses the credentials (status {status}): check them, and what they give access to")]
    CredentialsRefused {
        /// The HTTP status.
        status: u16,
    },
    /// A page for people came instead of data.
    #[error(
        "answers with an HTML page instead of JSON: a login page or a proxy in between; check credentials and address"
    )]
    HtmlPage,
    /// The host has no address.
    #[error("has a host name that cannot be resolved: check its spelling, and that the Service exists")]
    NameNotResolved,
    /// Nothing accepts connections there.
    #[error("does not accept connections: check host and port, that it runs, and network policies")]
    ConnectionFailed,
    /// It took too long.
    #[error("did not answer within {}s", .limit.as_secs_f64())]
    TimedOut {
        /// The time limit.
        limit: Duration,
    },
    /// The connection ended before the answer did.
    #[error("broke off its answer")]
    ConnectionLost,
    /// The answer is not JSON, or only a part.
    #[error("sent an answer that is cut off or no JSON: check that nothing in between alters it")]
    Malformed,
    /// JSON, but not what this product answers.
    #[error("sent JSON of another shape than expected: check that the address is the right product's")]
    UnexpectedAnswer,
    /// The answer is longer than we read.
    #[error("sent more than {limit} bytes: narrow the query, for one by aggregating it")]
    AnswerTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// There is nothing at that path.
    #[error("knows no such path (status {status}): check the path in the address")]
    NoSuchPath {
        /// The HTTP status.
        status: u16,
    },
    /// The address is another one.
    #[error("redirects elsewhere (status {status}), which is not followed: use the address that it redirects to")]
    Redirected {
        /// The HTTP status.
        status: u16,
    },
    /// The address policy forbids it.
    #[error("is at {address}, which may not be reached: the operator's --allow-addresses can permit it")]
    AddressNotAllowed {
        /// The address that the host has.
        address: IpAddr,
    },
    /// The certificate is not trusted.
    #[error("shows a certificate that is not trusted: check its issuer, host name and dates")]
    CertificateRefused,
    /// No TLS connection came about.
    #[error("does not speak TLS as expected: check port, and http or https, in the address")]
    TlsFailed,
    /// The credentials cannot be put into a header.
    #[error("cannot be asked with these credentials: look for a line break at their end")]
    CredentialsUnusable,
    /// Any other status that says that the request is wrong.
    #[error("rejects the request (status {status}): check the address")]
    RequestRejected {
        /// The HTTP status.
        status: u16,
    },
    /// The query is wrong in itself.
    #[error("does not understand the query: try it in the product's own page")]
    QueryInvalid,
    /// The query is right, but cannot be computed.
    #[error(
        "cannot compute the query: try it in the product's own page; often it reads too many samples or joins ambiguously"
    )]
    QueryFailed,
    /// More than one series where one number is needed.
    #[error("returns {count} series where one number is needed: aggregate the query with sum, avg, min or max")]
    SeveralSeries {
        /// How many.
        count: usize,
    },
    /// A histogram where one number is needed.
    #[error("returns a histogram where one number is needed: wrap the query in histogram_quantile or histogram_avg")]
    Histogram,
    /// A text where one number is needed.
    #[error("returns a text where one number is needed")]
    Text,
}

impl Error {
    /// What went wrong at a service.
    pub fn new(service: &Endpoint, fault: Fault) -> Self {
        Self { service: service.to_string(), fault }
    }

    /// Of a service that no request is sent to, as in a simulation.
    pub fn named(service: &str, fault: Fault) -> Self {
        Self { service: service.to_owned(), fault }
    }

    /// What went wrong.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// What to do about it.
    pub fn class(&self) -> Class {
        self.fault.class()
    }

    /// One word for conditions, events and metric labels; stays the same from version to version.
    pub fn reason(&self) -> &'static str {
        self.fault.reason()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.service, self.fault)
    }
}

impl std::error::Error for Error {}

impl Fault {
    /// What any HTTP service means with a `status` that is no success.
    pub(crate) fn of_status(status: u16, after: Option<Duration>) -> Self {
        match status {
            300..=399 => Self::Redirected { status },
            401 | 403 | 407 => Self::CredentialsRefused { status },
            404 | 405 | 410 => Self::NoSuchPath { status },
            429 => Self::Throttled { after },
            408 | 425 | 500.. => Self::Unavailable { status, after },
            _ => Self::RequestRejected { status },
        }
    }

    /// What to do about it.
    pub fn class(self) -> Class {
        match self {
            Self::Throttled { after } | Self::Unavailable { after, .. } => Class::Retry { after },
            Self::QueryTimedOut => Class::Retry { after: None },
            Self::CredentialsRefused { .. } | Self::HtmlPage => Class::Refused,
            Self::NameNotResolved
            | Self::ConnectionFailed
            | Self::TimedOut { .. }
            | Self::ConnectionLost
            | Self::Malformed => Class::Unreachable,
            Self::UnexpectedAnswer
            | Self::AnswerTooLarge { .. }
            | Self::NoSuchPath { .. }
            | Self::Redirected { .. }
            | Self::AddressNotAllowed { .. }
            | Self::CertificateRefused
            | Self::TlsFailed
            | Self::CredentialsUnusable
            | Self::RequestRejected { .. }
            | Self::QueryInvalid
            | Self::QueryFailed
            | Self::SeveralSeries { .. }
            | Self::Histogram
            | Self::Text => Class::Misconfigured,
        }
    }

    /// One word for conditions, events and metric labels; stays the same from version to version.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Throttled { .. } => "Throttled",
            Self::Unavailable { .. } => "Unavailable",
            Self::QueryTimedOut => "QueryTimedOut",
            Self::CredentialsRefused { .. } => "CredentialsRefused",
            Self::HtmlPage => "HtmlPage",
            Self::NameNotResolved => "NameNotResolved",
            Self::ConnectionFailed => "ConnectionFailed",
            Self::TimedOut { .. } => "TimedOut",
            Self::ConnectionLost => "ConnectionLost",
            Self::Malformed => "MalformedAnswer",
            Self::UnexpectedAnswer => "UnexpectedAnswer",
            Self::AnswerTooLarge { .. } => "AnswerTooLarge",
            Self::NoSuchPath { .. } => "NoSuchPath",
            Self::Redirected { .. } => "Redirected",
            Self::AddressNotAllowed { .. } => "AddressNotAllowed",
            Self::CertificateRefused => "CertificateRefused",
            Self::TlsFailed => "TlsFailed",
            Self::CredentialsUnusable => "CredentialsUnusable",
            Self::RequestRejected { .. } => "RequestRejected",
            Self::QueryInvalid => "QueryInvalid",
            Self::QueryFailed => "QueryFailed",
            Self::SeveralSeries { .. } => "SeveralSeries",
            Self::Histogram => "HistogramResult",
            Self::Text => "TextResult",
        }
    }
}

fn patience(after: &Option<Duration>) -> String {
    after.map_or_else(String::new, |after| format!(", again in {}s", after.as_millis().div_ceil(1000)))
}
