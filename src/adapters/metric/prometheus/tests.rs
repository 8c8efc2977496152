use std::time::Duration;

use super::*;
use crate::{
    error::Class,
    metric::{
        NoData,
        conformance::{Product, metric_source_conformance},
    },
    test_server::{Received, Reply, Server, client, json, reply},
};

metric_source_conformance!(Prometheus);

impl Product for Prometheus {
    type Source = Self;

    fn connect(client: HttpClient, base: &str) -> Self {
        Self::new(client, base.parse().unwrap())
    }

    fn query(request: &Received) -> String {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/api/v1/query"));
        assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(request.headers["accept"], "application/json");
        assert!(!request.headers.contains_key("authorization"));
        assert_eq!(request.field("timeout"), "10000ms");
        assert_eq!(request.field("partial_response"), "false");
        assert_eq!(request.field("deny_partial_response"), "1");
        assert_eq!(request.form.len(), 4);
        request.field("query").into()
    }

    fn series(values: &[f64]) -> String {
        let text = |value: &f64| match *value {
            f64::INFINITY => "+Inf".into(),
            f64::NEG_INFINITY => "-Inf".into(),
            value => format!("{value:?}"),
        };
        let series: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(pod, value)| format!(r#"{{"metric":{{"pod":"{pod}"}},"value":[1764014400.781,"{}"]}}"#, text(value)))
            .collect();
        vector(&series.join(","))
    }
}

fn vector(series: &str) -> String {
    success("vector", &format!("[{series}]"))
}

fn success(kind: &str, result: &str) -> String {
    format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#)
}

fn error(status: u16, kind: &str) -> Reply {
    reply(status, "application/json", format!(r#"{{"status":"error","errorType":"{kind}","error":"no","data":null}}"#))
}

async fn ask(answer: impl Fn() -> Reply + Send + Sync + 'static) -> Result<Measurement, Error> {
    let server = Server::start(move |_| answer()).await;
    Prometheus::new(client(), server.url().parse().unwrap()).measure("up").await
}

#[tokio::test]
async fn every_kind_of_result_is_read() {
    let empty = Sample::NoData { reason: NoData::Empty };
    for (kind, result, sample) in [
        ("scalar", r#"[1764014400.781,"1e-3"]"#, Ok(Sample::Value(0.001))),
        ("scalar", r#"[1764014400,"NaN"]"#, Ok(Sample::NoData { reason: NoData::NotANumber })),
        ("scalar", r#"[1764014400,"many"]"#, Err(Fault::UnexpectedAnswer)),
        ("string", r#"[1764014400,"1"]"#, Err(Fault::Text)),
        ("matrix", "[]", Ok(empty)),
        ("matrix", r#"[{"metric":{},"values":[]}]"#, Ok(empty)),
        ("matrix", r#"[{"metric":{},"values":[[1,"3"],[2,"4"]]}]"#, Ok(Sample::Value(4.0))),
        (
            "matrix",
            r#"[{"metric":{},"values":[[1,"3"]]},{"metric":{},"values":[]}]"#,
            Err(Fault::SeveralSeries { count: 2 }),
        ),
        ("matrix", r#"[{"metric":{},"histograms":[[1,{"count":"3","sum":"2","buckets":[]}]]}]"#, Err(Fault::Histogram)),
        ("vector", r#"[{"metric":{},"histogram":[1,{"count":"3","sum":"2","buckets":[]}]}]"#, Err(Fault::Histogram)),
        ("streams", "[]", Err(Fault::UnexpectedAnswer)),
    ] {
        let measured = ask(move || json(success(kind, result))).await;
        assert_eq!(measured.map(|m| m.sample).map_err(|error| error.fault()), sample, "{kind} {result}");
    }
}

#[tokio::test]
async fn warnings_are_counted_and_hints_are_not() {
    for (more, warnings) in [
        ("", 0),
        (r#","warnings":null"#, 0),
        (r#","warnings":[],"infos":["PromQL info: metric might not be a counter"]"#, 0),
        (r#","warnings":["store is unavailable","another"]"#, 2),
        (r#","isPartial":false"#, 0),
        (r#","isPartial":true"#, 1),
    ] {
        let body =
            Prometheus::series(&[1.0]).replacen(r#""status":"success""#, &format!(r#""status":"success"{more}"#), 1);
        let measured = ask(move || json(body.clone())).await.unwrap();
        assert_eq!(measured, Measurement { sample: Sample::Value(1.0), warnings }, "{more}");
    }
}

#[tokio::test]
async fn prometheus_own_errors_say_whether_the_query_is_to_blame() {
    let retry = Class::Retry { after: None };
    for (status, kind, reason, class) in [
        (400, "bad_data", "QueryInvalid", Class::Misconfigured),
        (422, "execution", "QueryFailed", Class::Misconfigured),
        (503, "timeout", "QueryTimedOut", retry),
        (503, "canceled", "Unavailable", retry),
        (503, "unavailable", "Unavailable", retry),
        (500, "internal", "Unavailable", retry),
        (404, "not_found", "NoSuchPath", Class::Misconfigured),
        (429, "too_many_requests", "Throttled", retry),
        (401, "bad_data", "CredentialsRefused", Class::Refused),
        (200, "bad_data", "QueryInvalid", Class::Misconfigured),
        (200, "something_new", "UnexpectedAnswer", Class::Misconfigured),
    ] {
        let found = ask(move || error(status, kind)).await.unwrap_err();
        assert_eq!((found.reason(), found.class()), (reason, class), "{status} {kind}");
    }
}

#[tokio::test]
async fn a_path_prefix_and_credentials_are_used_and_shown_nowhere() {
    for (credentials, header) in [
        (Credentials::Bearer("marker".into()), "Bearer marker"),
        (Credentials::Basic { username: "reader".into(), password: "marker".into() }, "Basic cmVhZGVyOm1hcmtlcg=="),
    ] {
        let mut server = Server::start(|_| error(401, "marker")).await;
        let source = Prometheus::new(client(), format!("{}/prometheus/", server.url()).parse().unwrap());
        let source = source.with_credentials(credentials);
        let error = source.measure("up").await.unwrap_err();
        assert_eq!(error.fault(), Fault::CredentialsRefused { status: 401 });
        assert!(!format!("{error} {error:?} {source:?}").contains("marker"));

        let received = server.received();
        assert_eq!(received.len(), 1, "a refusal is not repeated");
        assert_eq!(received[0].path, "/prometheus/api/v1/query");
        assert_eq!(received[0].headers["authorization"], header);
    }
}

#[tokio::test]
async fn refused_credentials_are_not_shown_again_and_new_ones_at_once() {
    let mut server = Server::start(|request| match request.headers.get("authorization") {
        Some(token) if token == "Bearer new" => json(Prometheus::series(&[1.0])),
        Some(_) | None => error(401, "bad_data"),
    })
    .await;
    let source = Prometheus::new(client(), server.url().parse().unwrap());
    let refused = Fault::CredentialsRefused { status: 401 };
    for _ in 0..2 {
        assert_eq!(source.measure("up").await.unwrap_err().fault(), refused);
        assert_eq!(server.received().len(), 1, "without credentials no account can be locked");
    }
    let source = source.with_credentials(Credentials::Bearer("old".into()));
    for requests in [1, 0] {
        assert_eq!(source.clone().measure("up").await.unwrap_err().fault(), refused);
        assert_eq!(server.received().len(), requests);
    }
    source.with_credentials(Credentials::Bearer("new".into())).measure("up").await.unwrap();
}

#[tokio::test]
async fn a_token_with_a_line_break_is_named_as_what_it_is() {
    let mut server = Server::start(|_| json(Prometheus::series(&[1.0]))).await;
    let source = Prometheus::new(client(), server.url().parse().unwrap());
    let error = source.with_credentials(Credentials::Bearer("marker\n".into())).measure("up").await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::CredentialsUnusable, Class::Misconfigured));
    assert!(!format!("{error} {error:?}").contains("marker"));
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn a_probe_of_a_server_that_computes_wrongly_fails() {
    for values in [&[][..], &[2.0], &[f64::NAN]] {
        let server = Server::start(move |_| json(Prometheus::series(values))).await;
        let error = Prometheus::new(client(), server.url().parse().unwrap()).probe().await.unwrap_err();
        assert_eq!(error.fault(), Fault::UnexpectedAnswer);
    }
    let mut server = Server::start(|_| json(Prometheus::series(&[1.0]))).await;
    Prometheus::new(client(), server.url().parse().unwrap()).probe().await.unwrap();
    assert_eq!(server.received()[0].field("query"), "vector(1)");
}

#[tokio::test]
async fn the_server_is_given_no_more_time_than_the_client_takes() {
    let mut server = Server::start(|_| json(Prometheus::series(&[1.0]))).await;
    let limits = crate::http::Limits { total: Duration::from_millis(2500), ..Default::default() };
    let client = crate::test_server::client_with(limits, "127.0.0.1/32");
    Prometheus::new(client, server.url().parse().unwrap()).measure("up").await.unwrap();
    assert_eq!(server.received()[0].field("timeout"), "2500ms");
}
