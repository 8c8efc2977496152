//! Which [`Fault`] a failed exchange was.

use std::{error::Error as StdError, io, iter};

use super::{Limits, resolve::ResolveError};
use crate::error::Fault;

/// What kept the answer from coming whole within `limits`.
pub(super) fn of_transport(error: &reqwest::Error, limits: Limits) -> Fault {
    let cause = causes(error).find_map(|cause| {
        let resolve = cause.downcast_ref().map(|error| match error {
            ResolveError::Unknown => Fault::NameNotResolved,
            ResolveError::NotAllowed(address) => Fault::AddressNotAllowed { address: *address },
        });
        let tls = || cause.downcast_ref().map(of_tls);
        resolve.or_else(tls)
    });
    match cause {
        Some(fault) => fault,
        None if error.is_timeout() && error.is_connect() => Fault::TimedOut { limit: limits.connect },
        None if error.is_timeout() => Fault::TimedOut { limit: limits.total },
        None if error.is_builder() => Fault::CredentialsUnusable,
        None if error.is_connect() => Fault::ConnectionFailed,
        None => Fault::ConnectionLost,
    }
}

fn of_tls(error: &rustls::Error) -> Fault {
    if matches!(error, rustls::Error::InvalidCertificate(_)) { Fault::CertificateRefused } else { Fault::TlsFailed }
}

/// The error and what caused it. An `io::Error` names the cause of what it holds, but not what it holds.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |&error| {
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        held.map(|held| held as &(dyn StdError + 'static)).or_else(|| error.source())
    })
}
