//! Limits on the number of connections: in all, and from one address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use crate::permits::{Permit, Permits};
use ipnet::IpNet;

/// Addresses that are kept beyond twice the number of open connections, before addresses without connections are
/// evicted.
const EVICTION_SLACK: usize = 64;

/// Bits of an IPv6 address that identify a client: providers assign each client a network of that prefix length.
const IPV6_CLIENT_BITS: u8 = 64;

/// Limits on the number of connections, in all and per address.
#[derive(Debug)]
pub struct ConnectionLimits {
    all: Permits,
    by_address: HashMap<IpAddr, Permits>,
    per_address_max: usize,
    trusted: Vec<IpNet>,
}

/// Permits of an open connection, released on drop.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    _all: Permit,
    _by_address: Option<Permit>,
}

impl ConnectionLimits {
    /// Admits as many connections as `all` does, and `per_address_max` of one address. Loopback addresses and `trusted`
    /// networks have no limit per address, since a proxy connects for many clients.
    #[must_use]
    pub fn new(all: Permits, per_address_max: usize, trusted: Vec<IpNet>) -> Self {
        Self {
            all,
            by_address: HashMap::new(),
            per_address_max,
            trusted,
        }
    }

    /// Admits a connection, or returns the configuration key of the exceeded limit.
    pub(super) fn admit(&mut self, address: IpAddr) -> Result<ConnectionPermit, &'static str> {
        let all = self.all.try_acquire().ok_or("connections_max")?;
        let address = address.to_canonical();
        if address.is_loopback() || self.trusted.iter().any(|network| network.contains(&address)) {
            return Ok(ConnectionPermit {
                _all: all,
                _by_address: None,
            });
        }
        if self.by_address.len() > EVICTION_SLACK + 2 * self.all.in_use() {
            self.by_address.retain(|_, permits| permits.in_use() > 0);
        }
        let max = self.per_address_max;
        let permits = self
            .by_address
            .entry(counted_address(address))
            .or_insert_with(|| Permits::new(max));
        let of_address = permits.try_acquire().ok_or("connections_per_address_max")?;
        Ok(ConnectionPermit {
            _all: all,
            _by_address: Some(of_address),
        })
    }
}

/// Returns the address by which a client is counted: its IPv4 address, or its IPv6 network.
fn counted_address(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << (128 - IPV6_CLIENT_BITS))).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(all: usize, per_address: usize, trusted: &[&str]) -> ConnectionLimits {
        let trusted = trusted.iter().map(|it| it.parse().expect("a network")).collect();
        ConnectionLimits::new(Permits::new(all), per_address, trusted)
    }

    fn admit(limits: &mut ConnectionLimits, address: &str) -> Result<ConnectionPermit, &'static str> {
        limits.admit(address.parse().expect("an address"))
    }

    /// P9: connections are counted in all and by address, and a dropped permit is free again.
    #[test]
    fn connections_are_limited_in_all_and_by_address() {
        let mut limits = limits(3, 2, &[]);
        let first = admit(&mut limits, "192.0.2.1");
        let _second = admit(&mut limits, "192.0.2.1").expect("the second of two");
        assert_eq!(
            admit(&mut limits, "192.0.2.1").err(),
            Some("connections_per_address_max")
        );
        let _other = admit(&mut limits, "192.0.2.2").expect("another address");
        assert_eq!(admit(&mut limits, "192.0.2.3").err(), Some("connections_max"));
        drop(first);
        admit(&mut limits, "192.0.2.1").expect("its permit is free again");
    }

    /// P9: a client counts as one whether it uses an IPv4-mapped address or other addresses of its own IPv6 network.
    #[test]
    fn connections_of_one_client_share_one_limit() {
        let mut limits = limits(100, 1, &[]);
        let _v4 = admit(&mut limits, "192.0.2.1").expect("the first");
        assert!(admit(&mut limits, "::ffff:192.0.2.1").is_err());
        let _v6 = admit(&mut limits, "2001:db8:0:1::1").expect("the first");
        assert!(admit(&mut limits, "2001:db8:0:1:ffff::2").is_err());
        admit(&mut limits, "2001:db8:0:2::1").expect("another network");
    }

    /// Clients behind a reverse proxy share the proxy's address, so that address has no limit.
    #[test]
    fn proxies_and_loopback_have_no_address_limit() {
        let mut limits = limits(100, 1, &["10.0.0.0/8", "2001:db8::/32"]);
        let mut permits = Vec::new();
        for address in [
            "127.0.0.1",
            "127.0.0.2",
            "::1",
            "::ffff:127.0.0.1",
            "10.1.2.3",
            "::ffff:10.1.2.3",
            "2001:db8::7",
        ] {
            for _ in 0..3 {
                permits.push(admit(&mut limits, address).expect(address));
            }
        }
        assert!(limits.by_address.is_empty());
    }

    /// P9: addresses without connections are evicted, so that their memory is bounded.
    #[test]
    fn addresses_without_connections_are_evicted() {
        let mut limits = limits(100, 1, &[]);
        for number in 0..10_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            drop(limits.admit(address));
        }
        assert!(
            limits.by_address.len() <= EVICTION_SLACK + 3,
            "{}",
            limits.by_address.len()
        );
    }
}
