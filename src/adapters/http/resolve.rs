//! Names to addresses, of which only permitted ones get through.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::address::AddressPolicy;

pub(super) struct PolicyResolver {
    addresses: Arc<AddressPolicy>,
}

/// Why a name gave no address to connect to.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("the name cannot be resolved")]
    Unknown,
    #[error("{0} may not be reached")]
    NotAllowed(IpAddr),
}

impl PolicyResolver {
    pub(super) fn new(addresses: Arc<AddressPolicy>) -> Self {
        Self { addresses }
    }
}

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = Arc::clone(&self.addresses);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| ResolveError::Unknown)?;
            Ok(Box::new(permitted(&addresses, found)?.into_iter()) as Addrs)
        })
    }
}

/// The permitted of a name's addresses. A name with both kinds is used through the permitted ones.
fn permitted(policy: &AddressPolicy, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, ResolveError> {
    let (permitted, refused): (Vec<_>, Vec<_>) = found.partition(|address| policy.permits(address.ip()));
    match (permitted.is_empty(), refused.first()) {
        (false, _) => Ok(permitted),
        (true, Some(address)) => Err(ResolveError::NotAllowed(address.ip())),
        (true, None) => Err(ResolveError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> std::vec::IntoIter<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn of_a_names_addresses_only_the_permitted_are_connected_to() {
        let policy = AddressPolicy::default();
        let mixed = permitted(&policy, addresses(&["169.254.169.254", "10.0.0.1", "::1"])).unwrap();
        assert_eq!(mixed, addresses(&["10.0.0.1"]).collect::<Vec<_>>());

        let refused = permitted(&policy, addresses(&["169.254.169.254", "::1"])).unwrap_err();
        assert!(matches!(refused, ResolveError::NotAllowed(address) if address.to_string() == "169.254.169.254"));
        assert!(matches!(permitted(&policy, addresses(&[])).unwrap_err(), ResolveError::Unknown));
    }
}
