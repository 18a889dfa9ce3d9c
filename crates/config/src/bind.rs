//! Addresses that the HTTP servers listen on.

use std::net::{IpAddr, SocketAddr};

use portolan_core::address::parse_ip;

use crate::error::ValueError;

/// Reads `IP:port`, `[IPv6]:port`, or an IP alone, which gets `default_port`.
///
/// # Errors
/// The text is neither, or its port is 0: nobody would know where to ask.
pub(crate) fn parse(text: &str, default_port: u16) -> Result<SocketAddr, ValueError> {
    let address = match parse_ip(text) {
        Ok(ip) => SocketAddr::new(ip, default_port),
        Err(_) => with_port(text).ok_or(ValueError::BindAddress)?,
    };
    if address.port() == 0 { Err(ValueError::BindAddress) } else { Ok(address) }
}

fn with_port(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    let ip = match host.strip_prefix('[') {
        Some(rest) => parse_ip(rest.strip_suffix(']')?).ok().filter(IpAddr::is_ipv6)?,
        None => parse_ip(host).ok().filter(IpAddr::is_ipv4)?,
    };
    let port = port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()))?;
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_the_default_port_unless_it_has_one() {
        let cases = [
            ("0.0.0.0", Some("0.0.0.0:10256")),
            ("127.0.0.1:80", Some("127.0.0.1:80")),
            ("010.0.0.1:80", Some("10.0.0.1:80")),
            ("::", Some("[::]:10256")),
            ("::1", Some("[::1]:10256")),
            ("[::1]:65535", Some("[::1]:65535")),
            ("[::1]", None),
            ("::1:99999", None),
            ("[127.0.0.1]:80", None),
            ("127.0.0.1:0", None),
            ("127.0.0.1:65536", None),
            ("127.0.0.1:+80", None),
            ("127.0.0.1:", None),
            (":10256", None),
            ("localhost:10256", None),
        ];
        for (text, expected) in cases {
            let address = parse(text, 10256).ok().map(|address| address.to_string());
            assert_eq!(address.as_deref(), expected, "{text}");
        }
    }
}
