//! Which addresses the operator may talk to.
//!
//! People write addresses into objects that the operator reads, and the operator reaches more than they do: its own
//! node, its loopback, the cloud's metadata service with the node's credentials. Those are refused. Private ranges are
//! not: that is where the cluster's own services are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Metadata and node services of clouds outside of the link-local range.
const METADATA_V4: [Ipv4Net; 3] = [
    Ipv4Net::new_assert(Ipv4Addr::new(100, 100, 100, 200), 32), // Alibaba Cloud
    Ipv4Net::new_assert(Ipv4Addr::new(168, 63, 129, 16), 32),   // Azure's WireServer
    Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 0, 192), 32),     // Oracle Cloud
];
const METADATA_V6: [Ipv6Net; 3] = [
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32), // AWS
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128), // Google Cloud
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128), // Scaleway
];
/// "This network": Linux takes 0.0.0.0 for the loopback.
const THIS_NETWORK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8);

/// Which addresses may be reached: all but loopback, link-local, unspecified, multicast, broadcast and cloud metadata
/// addresses, and of those the ones that the installation allows.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allowed: Vec<IpNet>,
}

impl AddressPolicy {
    /// A policy that permits `allowed` too.
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether `address` may be reached. An IPv6 address that stands for an IPv4 one is judged as that one.
    pub fn permits(&self, address: IpAddr) -> bool {
        let target = embedded_v4(address).map_or(address, IpAddr::V4);
        !is_sensitive(target) || self.allowed.iter().any(|net| net.contains(&target) || net.contains(&address))
    }
}

fn is_sensitive(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || THIS_NETWORK.contains(&v4)
                || METADATA_V4.iter().any(|net| net.contains(&v4))
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.is_unspecified()
                || METADATA_V6.iter().any(|net| net.contains(&v6))
        }
    }
}

/// The IPv4 address that packets for this IPv6 address end at: mapped, compatible, NAT64 (both prefixes) and 6to4.
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None, // unspecified and loopback of IPv6 itself
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permitted(policy: &AddressPolicy, address: &str) -> bool {
        policy.permits(address.parse().unwrap())
    }

    #[test]
    fn loopback_link_local_multicast_and_metadata_addresses_are_refused_in_every_spelling() {
        let policy = AddressPolicy::default();
        for address in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.170.2",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:42::42",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(!permitted(&policy, address), "{address}");
        }
    }

    #[test]
    fn the_clusters_private_ranges_and_public_addresses_are_permitted() {
        let policy = AddressPolicy::default();
        for address in [
            "10.96.0.10",
            "172.16.4.2",
            "192.168.1.1",
            "100.64.0.1",
            "192.0.2.7",
            "fd12::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(permitted(&policy, address), "{address}");
        }
    }

    #[test]
    fn what_the_installation_allows_is_permitted_and_nothing_beside_it() {
        let policy = AddressPolicy::new(vec!["127.0.0.1/32".parse().unwrap(), "fe80::/64".parse().unwrap()]);
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "fe80::7"] {
            assert!(permitted(&policy, address), "{address}");
        }
        for address in ["127.0.0.2", "::1", "169.254.169.254", "fe80:0:0:1::7"] {
            assert!(!permitted(&policy, address), "{address}");
        }
    }
}
