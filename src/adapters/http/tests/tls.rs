//! Whom the client trusts.

use std::convert::Infallible;

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Answers `1` over TLS as localhost. Its port, and the certificate in PEM.
async fn tls_server() -> (u16, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust us breaks off.
            if let Ok(stream) = acceptor.accept(stream).await {
                let service = service_fn(|_| async { Ok::<_, Infallible>(json("1")) });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        }
    });
    (port, certificate.pem())
}

#[tokio::test]
async fn only_certificates_of_trusted_authorities_are_accepted_and_a_bundle_replaces_the_systems() {
    let (port, bundle) = tls_server().await;
    let (_, foreign) = tls_server().await;
    let (right, wrong_name) = (format!("https://localhost:{port}"), format!("https://127.0.0.1:{port}"));

    let trusting = client().trusting(bundle.as_bytes()).unwrap();
    assert_eq!(post(&trusting, &right).await.unwrap().json::<u8>(), Ok(1));

    let foreign = client().trusting(foreign.as_bytes()).unwrap();
    for (client, base) in [(&client(), &right), (&foreign, &right), (&trusting, &wrong_name)] {
        let found = fault(client, base).await;
        assert_eq!((found, found.class()), (Fault::CertificateRefused, Class::Misconfigured));
    }

    let error = client().trusting(b"no certificate").unwrap_err();
    assert!(matches!(error, SetupError::Bundle(BundleError::Empty)), "{error}");
}

#[tokio::test]
async fn a_client_with_a_bundle_has_the_same_address_policy_and_limits() {
    let (port, bundle) = tls_server().await;
    let strict =
        client_with(Limits { body: 0, ..Limits::default() }, "192.0.2.0/24").trusting(bundle.as_bytes()).unwrap();
    let found = fault(&strict, &format!("https://localhost:{port}")).await;
    assert_eq!(found.reason(), "AddressNotAllowed");
    let short =
        client_with(Limits { body: 0, ..Limits::default() }, "127.0.0.0/8").trusting(bundle.as_bytes()).unwrap();
    assert_eq!(fault(&short, &format!("https://localhost:{port}")).await, Fault::AnswerTooLarge { limit: 0 });
}
