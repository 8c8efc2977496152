//! Whose certificates are trusted.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Why a bundle of certificate authorities cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// There is no certificate in it.
    #[error(
        "the CA bundle has no certificate: give PEM, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
    )]
    Empty,
    /// One of its certificates cannot be read.
    #[error("certificate {number} of the CA bundle cannot be read: copy it again, whole")]
    Unreadable {
        /// Which one, counted from 1.
        number: usize,
    },
}

/// The system's certificate authorities, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
pub(super) fn system_authorities() -> RootCertStore {
    let mut authorities = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some certificate authorities of the system cannot be read");
    }
    authorities.add_parsable_certificates(found.certs);
    if authorities.is_empty() {
        tracing::warn!("the system has no certificate authorities: services over https will not be trusted");
    }
    authorities
}

/// Exactly the certificate authorities of `pem`: one that is left out in silence is searched for hours later.
pub(super) fn bundled_authorities(pem: &[u8]) -> Result<RootCertStore, BundleError> {
    let mut authorities = RootCertStore::empty();
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
        let unreadable = BundleError::Unreadable { number };
        authorities.add(certificate.map_err(|_| unreadable)?).map_err(|_| unreadable)?;
    }
    if authorities.is_empty() { Err(BundleError::Empty) } else { Ok(authorities) }
}

/// Trust in `authorities`.
pub(super) fn config(authorities: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    // Named here rather than installed for the process, which is the operator's to decide.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(["localhost".into()]).unwrap().self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_bundle_is_taken_whole_or_not_at_all() {
        assert_eq!(bundled_authorities(format!("# ours\n{}{}", pem(), pem()).as_bytes()).unwrap().len(), 2);
        for (bundle, error) in [
            (String::new(), BundleError::Empty),
            ("no certificate".into(), BundleError::Empty),
            (pem().replace("CERTIFICATE", "PRIVATE KEY"), BundleError::Empty),
            (format!("{}{}", pem(), pem().replace("MII", "???")), BundleError::Unreadable { number: 2 }),
            (pem().replace("MII", "AAA"), BundleError::Unreadable { number: 1 }),
            (pem().lines().take(3).collect::<Vec<_>>().join("\n"), BundleError::Unreadable { number: 1 }),
        ] {
            assert_eq!(bundled_authorities(bundle.as_bytes()).err(), Some(error), "{bundle}");
        }
    }
}
