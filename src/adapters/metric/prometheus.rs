//! Prometheus, and what speaks its HTTP API: Thanos, Mimir, Cortex, VictoriaMetrics.

use serde::{Deserialize, de::IgnoredAny};

use super::{Measurement, MetricSource, Pending, Sample};
use crate::{
    endpoint::{Credentials, Endpoint},
    error::{Error, Fault},
    http::{Answer, HttpClient},
};

const QUERY: &str = "/api/v1/query";

/// A server with Prometheus' HTTP API. Queries are PromQL instant queries at the server's own time.
#[derive(Clone, Debug)]
pub struct Prometheus {
    client: HttpClient,
    endpoint: Endpoint,
}

impl Prometheus {
    /// The server at `endpoint`, which may have a path prefix like Mimir's `/prometheus`.
    pub fn new(client: HttpClient, endpoint: Endpoint) -> Self {
        Self { client, endpoint }
    }

    /// The same server, asked with `credentials`.
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self { endpoint: self.endpoint.with_credentials(credentials), ..self }
    }

    /// What the server at `endpoint` has said with this status, content type and body: for whoever plays such a server.
    ///
    /// # Errors
    /// As [`MetricSource::measure`] of such an answer.
    pub fn understand(endpoint: &Endpoint, status: u16, content_type: &str, body: &[u8]) -> Result<Measurement, Error> {
        let is_html = content_type.starts_with("text/html");
        read_answer(status, is_html, body.to_vec()).map_err(|fault| Error::new(endpoint, fault))
    }

    async fn query(&self, query: &str) -> Result<Measurement, Error> {
        let timeout = format!("{}ms", self.client.limits().total.as_millis());
        let form = [
            ("query", query),
            ("timeout", &timeout),
            // Thanos and VictoriaMetrics otherwise leave out the stores that they cannot reach. Others ignore the fields.
            ("partial_response", "false"),
            ("deny_partial_response", "1"),
        ];
        let answer = self.client.post_form(&self.endpoint, QUERY, &form).await?;
        read(&answer).map_err(|fault| Error::new(&self.endpoint, fault))
    }
}

impl MetricSource for Prometheus {
    fn measure<'a>(&'a self, query: &'a str) -> Pending<'a, Measurement> {
        Box::pin(self.query(query))
    }

    fn probe(&self) -> Pending<'_, ()> {
        Box::pin(async {
            match self.query("vector(1)").await?.sample {
                Sample::Value(1.0) => Ok(()),
                Sample::Value(_) | Sample::NoData { .. } => Err(Error::new(&self.endpoint, Fault::UnexpectedAnswer)),
            }
        })
    }
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Envelope {
    Success {
        data: Data,
        warnings: Option<Vec<IgnoredAny>>,
        /// VictoriaMetrics' way to warn.
        #[serde(default, rename = "isPartial")]
        is_partial: bool,
    },
    Error {
        #[serde(rename = "errorType")]
        error_type: String,
    },
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar(Point),
    String(IgnoredAny),
    Vector(Vec<Instant>),
    Matrix(Vec<Range>),
}

/// Time in seconds, and the number as text, since JSON has no NaN.
#[derive(Deserialize)]
struct Point(IgnoredAny, String);

#[derive(Deserialize)]
struct Instant {
    value: Option<Point>,
}

#[derive(Deserialize)]
struct Range {
    values: Option<Vec<Point>>,
}

/// What an answer says that came otherwise than through [`Prometheus`]: its HTTP status, whether it claims to be a page, its body.
///
/// # Errors
/// Why it gives no number, as for a query.
pub fn read_answer(status: u16, is_html: bool, body: Vec<u8>) -> Result<Measurement, Fault> {
    Answer::new(status, is_html, body).ok_or(Fault::Malformed).and_then(|answer| read(&answer))
}

fn read(answer: &Answer) -> Result<Measurement, Fault> {
    if !answer.status.is_success() {
        return Err(failure(answer));
    }
    match answer.json()? {
        Envelope::Success { data, warnings, is_partial } => {
            let warnings = warnings.map_or(0, |warnings| warnings.len()) + usize::from(is_partial);
            Ok(Measurement { sample: sample(data)?, warnings })
        }
        Envelope::Error { error_type } => Err(query_fault(&error_type).unwrap_or(Fault::UnexpectedAnswer)),
    }
}

/// Bodies of errors say more than their status, if Prometheus wrote them and not something in between.
fn failure(answer: &Answer) -> Fault {
    match (answer.status.as_u16(), answer.json()) {
        (400 | 422 | 503, Ok(Envelope::Error { error_type })) => query_fault(&error_type),
        _ => None,
    }
    .unwrap_or_else(|| answer.failure())
}

fn query_fault(error_type: &str) -> Option<Fault> {
    match error_type {
        "bad_data" => Some(Fault::QueryInvalid),
        "execution" => Some(Fault::QueryFailed),
        "timeout" => Some(Fault::QueryTimedOut),
        _ => None,
    }
}

fn sample(data: Data) -> Result<Sample, Fault> {
    match data {
        Data::Scalar(point) => number(&point),
        Data::String(_) => Err(Fault::Text),
        Data::Vector(series) => match one(series)? {
            None => Ok(Sample::EMPTY),
            Some(Instant { value: Some(point) }) => number(&point),
            Some(Instant { value: None }) => Err(Fault::Histogram),
        },
        Data::Matrix(series) => match one(series)? {
            None => Ok(Sample::EMPTY),
            Some(Range { values: Some(points) }) => points.last().map_or(Ok(Sample::EMPTY), number),
            Some(Range { values: None }) => Err(Fault::Histogram),
        },
    }
}

fn one<T>(series: Vec<T>) -> Result<Option<T>, Fault> {
    match series.len() {
        0 | 1 => Ok(series.into_iter().next()),
        count => Err(Fault::SeveralSeries { count }),
    }
}

fn number(Point(_, text): &Point) -> Result<Sample, Fault> {
    text.parse::<f64>().map(Sample::from).map_err(|_| Fault::UnexpectedAnswer)
}

#[cfg(test)]
mod tests;
