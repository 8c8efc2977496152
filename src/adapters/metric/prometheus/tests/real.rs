//! Against a real server: what the tests beside this one take for Prometheus' answers must be its answers.
//! Runs where `LOCKKEEPER_PROMETHEUS` names the binary.

use std::{ffi::OsStr, process::Stdio};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::*;

/// Ends with the test.
struct Running {
    url: String,
    _process: Child,
    _data: TempDir,
}

async fn start(binary: &OsStr) -> Running {
    let data = TempDir::new().unwrap();
    let config = data.path().join("prometheus.yml");
    std::fs::write(&config, "").unwrap();
    let mut process = Command::new(binary)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data.path().join("data").display()))
        .args(["--web.listen-address=127.0.0.1:0", "--web.route-prefix=/prefix", "--query.max-samples=1000"])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
    // The two lines come in either order.
    let (mut address, mut is_ready) = (None, false);
    while let Some(line) = log.next_line().await.unwrap() {
        is_ready |= line.contains("ready to receive web requests");
        if line.contains("Listening on") {
            address = line.rsplit_once("address=").map(|(_, address)| address.to_owned());
        }
        if let (Some(address), true) = (&address, is_ready) {
            let url = format!("http://{address}/prefix/");
            // Whoever writes to a pipe that nobody reads gets stuck in the end.
            tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
            return Running { url, _process: process, _data: data };
        }
    }
    panic!("{binary:?} ended before it was ready");
}

#[tokio::test]
async fn a_real_prometheus_is_understood() {
    let Some(binary) = std::env::var_os("LOCKKEEPER_PROMETHEUS") else {
        eprintln!("left out: LOCKKEEPER_PROMETHEUS does not name a prometheus binary");
        return;
    };
    let server = start(&binary).await;
    let source = Prometheus::new(client(), &server.url).unwrap();
    source.probe().await.unwrap();

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
        ("vector(1)[2h:1s]", Err(Fault::QueryFailed)),
        ("vector(3)[30s:10s]", Ok(Sample::Value(3.0))),
        (r#"label_replace(vector(5), "pod", "é\"\\\n😀&+%=", "", "")"#, Ok(Sample::Value(5.0))),
    ];
    for (query, sample) in rows {
        let measured = source.measure(query).await.map_err(|error| error.fault());
        assert_eq!(measured, sample.map(|sample| Measurement { sample, warnings: 0 }), "{query}");
    }

    let elsewhere = Prometheus::new(client(), server.url.trim_end_matches("prefix/")).unwrap();
    assert_eq!(elsewhere.probe().await.unwrap_err().reason(), "NoSuchPath");
}
