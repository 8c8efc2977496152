mod proxy;
mod tls;

use std::{io, net::IpAddr, sync::Mutex};

use tokio::net::TcpListener;
use tracing::level_filters::LevelFilter;

use super::*;
use crate::{
    error::Class,
    test_server::{Reply, Server, client, client_with, json, reply, with_header},
};

const PATH: &str = "/path";

async fn post(client: &HttpClient, base: &str) -> Result<Answer, Error> {
    client.post_form(&base.parse().unwrap(), PATH, &[("field", "value")]).await
}

async fn fault(client: &HttpClient, base: &str) -> Fault {
    post(client, base).await.err().unwrap().fault()
}

fn redirect_to(status: u16, location: &str) -> Reply {
    with_header(reply(status, "text/plain", ""), "location", location)
}

#[tokio::test]
async fn refused_addresses_are_not_reached_by_number_or_by_name() {
    let mut server = Server::start(|_| json("1")).await;
    let port = server.address.port();
    let strict = client_with(Limits::default(), "192.0.2.0/24");
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "0.0.0.0", "localhost", "[::ffff:127.0.0.1]", "[::1]"] {
        let error = post(&strict, &format!("http://{host}:{port}")).await.err().unwrap();
        assert_eq!((error.reason(), error.class()), ("AddressNotAllowed", Class::Misconfigured), "{host}");
        assert!(error.to_string().contains("--allow-addresses"), "{error}");
    }
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn metadata_addresses_are_refused_while_loopback_is_allowed() {
    let found = fault(&client(), "http://169.254.169.254").await;
    assert_eq!(found, Fault::AddressNotAllowed { address: IpAddr::from([169, 254, 169, 254]) });
}

#[tokio::test]
async fn an_allowed_name_is_reached() {
    let server = Server::start(|_| json("1")).await;
    let answer = post(&client(), &format!("http://localhost:{}", server.address.port())).await.unwrap();
    assert_eq!(answer.json::<u8>(), Ok(1));
}

#[tokio::test]
async fn redirects_within_a_server_keep_the_request() {
    for status in [307, 308] {
        let mut server = Server::start(move |request| match request.path.as_str() {
            PATH => redirect_to(status, "/moved"),
            _ => json("1"),
        })
        .await;
        assert_eq!(post(&client(), &server.url()).await.unwrap().json::<u8>(), Ok(1));
        let received = server.received();
        assert_eq!(received.iter().map(|request| request.path.as_str()).collect::<Vec<_>>(), [PATH, "/moved"]);
        assert_eq!((received[1].method.as_str(), received[1].field("field")), ("POST", "value"));
    }
}

#[tokio::test]
async fn redirects_that_lose_the_request_are_not_followed() {
    for status in [301, 302, 303] {
        let mut server = Server::start(move |_| redirect_to(status, "/moved")).await;
        let answer = post(&client(), &server.url()).await.unwrap();
        assert_eq!(answer.failure(), Fault::Redirected { status });
        assert_eq!(server.received().len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_in_a_circle_ends() {
    let mut server = Server::start(|_| redirect_to(307, PATH)).await;
    assert_eq!(post(&client(), &server.url()).await.unwrap().failure(), Fault::Redirected { status: 307 });
    assert_eq!(server.received().len(), 1 + REDIRECTS);
}

#[tokio::test]
async fn a_redirect_to_a_refused_address_or_another_port_is_not_followed() {
    let mut other = Server::start(|_| json("1")).await;
    let port = other.address.port();
    for location in
        [format!("http://127.0.0.1:{port}/"), format!("http://localhost:{port}/"), "http://169.254.169.254/".into()]
    {
        let server = Server::start(move |_| redirect_to(307, &location)).await;
        assert_eq!(post(&client(), &server.url()).await.unwrap().failure(), Fault::Redirected { status: 307 });
    }
    assert!(other.received().is_empty());
}

#[tokio::test]
async fn a_name_that_does_not_exist_and_a_port_that_is_closed_are_unreachable() {
    // RFC 6761: there is never such a name.
    let unknown = fault(&client(), "http://prometheus.invalid").await;
    assert_eq!((unknown, unknown.class()), (Fault::NameNotResolved, Class::Unreachable));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let closed = fault(&client(), &closed).await;
    assert_eq!((closed, closed.class()), (Fault::ConnectionFailed, Class::Unreachable));
}

#[tokio::test]
async fn a_server_that_closes_without_an_answer_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    assert_eq!(fault(&client(), &format!("http://{address}")).await.class(), Class::Unreachable);
}

#[tokio::test]
async fn https_to_a_server_without_tls_is_misconfigured() {
    let server = Server::start(|_| json("1")).await;
    let found = fault(&client(), &format!("https://{}", server.address)).await;
    assert_eq!((found, found.class()), (Fault::TlsFailed, Class::Misconfigured));
}

#[tokio::test]
async fn a_connection_that_never_stands_ends_at_its_own_limit() {
    // Accepts, by its backlog, and never says a word of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = Duration::from_millis(100);
    let client = client_with(Limits { connect, ..Limits::default() }, "127.0.0.0/8");
    let found = fault(&client, &format!("https://{}", listener.local_addr().unwrap())).await;
    assert_eq!((found, found.class()), (Fault::TimedOut { limit: connect }, Class::Unreachable));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_has_method_host_path_status_and_time_and_nothing_of_what_was_said() {
    let log = Log::default();
    let writer = log.clone();
    // For all threads: with several tests at once, a subscriber of one thread misses what another has asked about first.
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    let unlogged = "never-to-be-logged";
    let server = Server::start(move |_| with_header(reply(500, "text/plain", unlogged), "x-answer", unlogged)).await;
    let credentials = crate::endpoint::Credentials::Bearer(unlogged.into());
    let endpoint = server.url().parse::<Endpoint>().unwrap().with_credentials(credentials);
    client().post_form(&endpoint, PATH, &[("query", unlogged)]).await.unwrap();

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = log.lines().find(|line| line.contains(&server.url()) && line.contains("asked")).unwrap();
    for said in ["POST", "path=\"/path\"", "status=500", "milliseconds="] {
        assert!(line.contains(said), "{said} in {line}");
    }
    assert!(!log.contains(unlogged), "{log}");
}
