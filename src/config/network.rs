//! Networks of proxies: an address, or an address with a prefix length.

use std::net::IpAddr;

use ipnet::IpNet;

/// Parses an entry of `server.trusted_proxies`.
pub(super) fn read(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address)
}

/// Checks an entry. `Err` names the allowed form.
pub(super) fn check(text: &str) -> Result<(), String> {
    read(text)
        .map(drop)
        .ok_or_else(|| format!("{text:?} is no address (\"192.0.2.1\") and no network (\"10.0.0.0/8\")"))
}
