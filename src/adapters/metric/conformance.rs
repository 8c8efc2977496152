//! What every [`MetricSource`] must do, whatever its product: one suite, run against a server that speaks as the product
//! does and behaves as networks do.

use std::time::Duration;

use super::{Measurement, MetricSource, NoData, Sample};
use crate::{
    error::{Class, Error, Fault},
    http::HttpClient,
    test_server::{
        Received, Reply, Server, client, cut_off, flood, impatient_client, json, reply, stalled, with_header,
    },
};

/// A product under test.
pub(crate) trait Product {
    /// Its client.
    type Source: MetricSource;

    /// A source whose server is at `base`.
    fn connect(client: HttpClient, base: &str) -> Self::Source;

    /// The query that `request` asks, after checking everything else about it.
    fn query(request: &Received) -> String;

    /// The body of an answer with one series for each of `values`.
    fn series(values: &[f64]) -> String;
}

/// One test for each behaviour.
macro_rules! metric_source_conformance {
    ($product:ty: $($behaviour:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $behaviour() {
            $crate::metric::conformance::$behaviour::<$product>().await;
        })+
    };
    ($product:ty) => {
        $crate::metric::conformance::metric_source_conformance! {
            $product:
            a_finite_number_is_a_value,
            what_is_not_finite_or_absent_is_no_data,
            several_series_are_an_error_that_names_the_mend,
            queries_arrive_unchanged_whatever_characters_they_have,
            a_probe_tells_whether_queries_are_answered,
            statuses_are_classified,
            retry_after_is_kept_in_both_spellings,
            a_service_that_asks_for_patience_is_left_alone,
            an_html_page_is_a_refusal_even_with_status_200,
            broken_answers_are_unreachable,
            json_of_another_product_is_misconfigured,
            long_answers_are_not_read_to_their_end,
            a_stalled_answer_ends_at_the_time_limit,
            redirects_to_other_hosts_are_not_followed,
            errors_show_neither_answers_nor_queries,
        }
    };
}
pub(crate) use metric_source_conformance;

const QUERY: &str = "errors";
const MARKER: &str = "marker-in-the-answer";

async fn ask<P: Product>(answer: impl Fn() -> Reply + Send + Sync + 'static) -> Result<Measurement, Error> {
    let server = Server::start(move |_| answer()).await;
    P::connect(client(), &server.url()).measure(QUERY).await
}

async fn fault<P: Product>(answer: impl Fn() -> Reply + Send + Sync + 'static) -> Fault {
    ask::<P>(answer).await.unwrap_err().fault()
}

async fn sample<P: Product>(values: &'static [f64]) -> Sample {
    ask::<P>(|| json(P::series(values))).await.unwrap().sample
}

pub(crate) async fn a_finite_number_is_a_value<P: Product>() {
    assert_eq!(sample::<P>(&[0.0]).await, Sample::Value(0.0));
    assert_eq!(sample::<P>(&[0.25]).await, Sample::Value(0.25));
    assert_eq!(sample::<P>(&[-1e300]).await, Sample::Value(-1e300));
}

pub(crate) async fn what_is_not_finite_or_absent_is_no_data<P: Product>() {
    assert_eq!(sample::<P>(&[]).await, Sample::NoData { reason: NoData::Empty });
    assert_eq!(sample::<P>(&[f64::NAN]).await, Sample::NoData { reason: NoData::NotANumber });
    assert_eq!(sample::<P>(&[f64::INFINITY]).await, Sample::NoData { reason: NoData::Infinite });
    assert_eq!(sample::<P>(&[f64::NEG_INFINITY]).await, Sample::NoData { reason: NoData::Infinite });
}

pub(crate) async fn several_series_are_an_error_that_names_the_mend<P: Product>() {
    let error = ask::<P>(|| json(P::series(&[1.0, 1.0, f64::NAN]))).await.unwrap_err();
    assert_eq!(error.fault(), Fault::SeveralSeries { count: 3 });
    assert_eq!(error.class(), Class::Misconfigured);
    assert!(error.to_string().contains("aggregate"), "{error}");
}

pub(crate) async fn queries_arrive_unchanged_whatever_characters_they_have<P: Product>() {
    let mut server = Server::start(|_| json(P::series(&[1.0]))).await;
    let source = P::connect(client(), &server.url());
    for query in ["up", r#"a{b=~"c|d", e!="f\\g"} / 2 + 1 % 3 & é#😀"#, "line\nline\tend ", &"x".repeat(100_000)] {
        source.measure(query).await.unwrap();
        let received = server.received();
        assert_eq!(received.iter().map(P::query).collect::<Vec<_>>(), [query]);
    }
}

pub(crate) async fn a_probe_tells_whether_queries_are_answered<P: Product>() {
    let server = Server::start(|_| json(P::series(&[1.0]))).await;
    P::connect(client(), &server.url()).probe().await.unwrap();

    let server = Server::start(|_| reply(503, "text/plain", "starting")).await;
    let error = P::connect(client(), &server.url()).probe().await.unwrap_err();
    assert_eq!(error.class(), Class::Retry { after: None });
}

pub(crate) async fn statuses_are_classified<P: Product>() {
    let retry = Class::Retry { after: None };
    for (status, class) in [
        (301, Class::Misconfigured),
        (400, Class::Misconfigured),
        (401, Class::Refused),
        (403, Class::Refused),
        (404, Class::Misconfigured),
        (405, Class::Misconfigured),
        (407, Class::Refused),
        (408, retry),
        (418, Class::Misconfigured),
        (422, Class::Misconfigured),
        (429, retry),
        (500, retry),
        (502, retry),
        (503, retry),
        (504, retry),
        (520, retry),
        (529, retry),
    ] {
        // What stands between us and a product answers in HTML, or not at all.
        for (content_type, body) in [("text/html", "<html>"), ("application/json", "{}"), ("text/plain", "")] {
            let found = fault::<P>(move || reply(status, content_type, body)).await;
            assert_eq!(found.class(), class, "{status} {content_type}: {found}");
        }
    }
}

pub(crate) async fn retry_after_is_kept_in_both_spellings<P: Product>() {
    let seconds = Class::Retry { after: Some(Duration::from_secs(7)) };
    for status in [429, 503] {
        let throttled = move || reply(status, "text/plain", "later");
        let found = fault::<P>(move || with_header(throttled(), "retry-after", "7")).await;
        assert_eq!(found.class(), seconds);
        let dated = move || with_header(throttled(), "date", "Fri, 06 Nov 2026 08:49:30 GMT");
        let found = fault::<P>(move || with_header(dated(), "retry-after", "Fri, 06 Nov 2026 08:49:37 GMT")).await;
        assert_eq!(found.class(), seconds);
        assert_eq!(fault::<P>(throttled).await.class(), Class::Retry { after: None });
    }
}

pub(crate) async fn a_service_that_asks_for_patience_is_left_alone<P: Product>() {
    for status in [429, 503] {
        let mut server =
            Server::start(move |_| with_header(reply(status, "text/plain", ""), "retry-after", "600")).await;
        let source = P::connect(client(), &server.url());
        let told = source.measure(QUERY).await.unwrap_err();
        assert_eq!(server.received().len(), 1);

        let repeated = source.probe().await.unwrap_err();
        assert_eq!(repeated.reason(), told.reason());
        assert!(matches!(repeated.class(), Class::Retry { after: Some(rest) } if rest < Duration::from_secs(600)));
        assert!(server.received().is_empty());
    }
}

pub(crate) async fn an_html_page_is_a_refusal_even_with_status_200<P: Product>() {
    for content_type in ["text/html", "Text/HTML; charset=utf-8"] {
        let found = fault::<P>(move || reply(200, content_type, "<html>Please log in</html>")).await;
        assert_eq!((found, found.class()), (Fault::HtmlPage, Class::Refused));
    }
}

pub(crate) async fn broken_answers_are_unreachable<P: Product>() {
    let truncated = || {
        let whole = P::series(&[1.0]);
        json(whole[..whole.len() - 1].to_owned())
    };
    assert_eq!(fault::<P>(truncated).await, Fault::Malformed);
    assert_eq!(fault::<P>(|| json("")).await, Fault::Malformed);
    assert_eq!(fault::<P>(|| cut_off(r#"{"status":"#)).await, Fault::ConnectionLost);
    for fault in [Fault::Malformed, Fault::ConnectionLost] {
        assert_eq!(fault.class(), Class::Unreachable);
    }
}

pub(crate) async fn json_of_another_product_is_misconfigured<P: Product>() {
    for body in ["{}", "[]", "null", "1", r#"{"message":"ok"}"#] {
        let found = fault::<P>(move || json(body)).await;
        assert_eq!((found, found.class()), (Fault::UnexpectedAnswer, Class::Misconfigured), "{body}");
    }
}

pub(crate) async fn long_answers_are_not_read_to_their_end<P: Product>() {
    let too_large = Fault::AnswerTooLarge { limit: 2 << 20 };
    assert_eq!(fault::<P>(|| json(vec![b' '; 5 << 20])).await, too_large);
    assert_eq!(fault::<P>(|| flood(usize::MAX)).await, too_large);
}

pub(crate) async fn a_stalled_answer_ends_at_the_time_limit<P: Product>() {
    let server = Server::start(|_| stalled(r#"{"status":"#)).await;
    let error = P::connect(impatient_client(), &server.url()).measure(QUERY).await.unwrap_err();
    assert_eq!(error.fault(), Fault::TimedOut { limit: Duration::from_millis(100) });
    assert_eq!(error.class(), Class::Unreachable);
}

pub(crate) async fn redirects_to_other_hosts_are_not_followed<P: Product>() {
    for status in [301, 302, 303, 307, 308] {
        let mut other = Server::start(|_| json(P::series(&[1.0]))).await;
        let elsewhere = other.url();
        let found = fault::<P>(move || with_header(reply(status, "text/plain", ""), "location", &elsewhere)).await;
        assert_eq!((found, found.class()), (Fault::Redirected { status }, Class::Misconfigured));
        assert!(other.received().is_empty());
    }
}

pub(crate) async fn errors_show_neither_answers_nor_queries<P: Product>() {
    for status in [200, 302, 400, 401, 403, 404, 422, 429, 500, 503] {
        for body in [MARKER.to_owned(), format!(r#"{{"status":"error","errorType":"{MARKER}","error":"{MARKER}"}}"#)] {
            let answer = move || {
                let reply = reply(status, "application/json", body.clone());
                with_header(with_header(reply, "location", "http://marker-in-the-answer/"), "x-error", MARKER)
            };
            let server = Server::start(move |_| answer()).await;
            let error = P::connect(client(), &server.url()).measure("marker-in-the-query").await.unwrap_err();
            let shown = format!("{error} {error:?} {}", error.reason());
            assert!(!shown.contains("marker"), "{shown}");
            assert!(shown.starts_with(&server.url()), "{shown}");
        }
    }
}
