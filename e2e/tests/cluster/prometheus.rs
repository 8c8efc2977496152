//! What the adapter's own tests take for Prometheus' answers must be its answers.

use anyhow::{Result, ensure};
use lockkeeper_adapters::address::AddressPolicy;
use lockkeeper_adapters::error::Fault;
use lockkeeper_adapters::http::{HttpClient, Limits};
use lockkeeper_adapters::metric::{Measurement, MetricSource, NoData, Prometheus, Sample};
use lockkeeper_e2e::Cluster;

pub async fn answers(cluster: &Cluster) -> Result<()> {
    // It is a process beside us.
    let client = HttpClient::new(AddressPolicy::new(vec!["127.0.0.0/8".parse()?]), Limits::default())?;
    let url = cluster.prometheus_url()?;
    let source = Prometheus::new(client.clone(), url.parse()?);
    source.probe().await?;

    let no_data = |reason| Ok(Sample::NoData { reason });
    let two = r#"(vector(1) or label_replace(vector(2), "pod", "b", "", ""))"#;
    let rows = [
        ("vector(0.25)", Ok(Sample::Value(0.25))),
        ("vector(-0)", Ok(Sample::Value(0.0))),
        ("1 / 4", Ok(Sample::Value(0.25))),
        ("absent_metric", no_data(NoData::Empty)),
        ("vector(0) / vector(0)", no_data(NoData::NotANumber)),
        ("0 / 0", no_data(NoData::NotANumber)),
        ("vector(1) / 0", no_data(NoData::Infinite)),
        ("vector(-1) / 0", no_data(NoData::Infinite)),
        (two, Err(Fault::SeveralSeries { count: 2 })),
        (&format!("max({two})"), Ok(Sample::Value(2.0))),
        ("absent_metric[5m]", no_data(NoData::Empty)),
        (r#""text""#, Err(Fault::Text)),
        ("sum(", Err(Fault::QueryInvalid)),
        ("", Err(Fault::QueryInvalid)),
        (&format!("vector(1) * on() {two}"), Err(Fault::QueryFailed)),
        ("vector(3)[30s:10s]", Ok(Sample::Value(3.0))),
        (r#"label_replace(vector(5), "pod", "é\"\\\n😀&+%=", "", "")"#, Ok(Sample::Value(5.0))),
    ];
    for (query, sample) in rows {
        let measured = source.measure(query).await.map_err(|error| error.fault());
        let expected = sample.map(|sample| Measurement { sample, warnings: 0 });
        ensure!(measured == expected, "{query}: {measured:?}, not {expected:?}");
    }

    let elsewhere = Prometheus::new(client, format!("{url}/elsewhere").parse()?);
    let reason = elsewhere.probe().await.err().map(|error| error.reason());
    ensure!(reason == Some("NoSuchPath"), "{reason:?}");
    Ok(())
}
