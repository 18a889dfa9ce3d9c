//! Bind addresses of the HTTP servers.

use std::net::{IpAddr, SocketAddr};

use portolan_core::address::parse_ip;

/// kube-proxy's health port.
pub(crate) const HEALTHZ_PORT: u16 = 10256;
/// kube-proxy's metrics port.
pub(crate) const METRICS_PORT: u16 = 10249;

/// Which part of a bind address is invalid, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BindError {
    pub(crate) part: String,
    pub(crate) wanted: &'static str,
}

/// The address with this port, if it is an IP without one; anything else as it is.
pub(crate) fn with_port(address: &str, port: u16) -> String {
    match parse_ip(address) {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => address.to_owned(),
    }
}

/// Reads `IP:port` or `[IPv6]:port`.
///
/// # Errors
/// The text is neither, or its port is 0.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, BindError> {
    let invalid = |part: &str, wanted| BindError { part: part.to_owned(), wanted };
    let (host, port) = split(text).ok_or_else(|| invalid(text, "must be IP:port"))?;
    let ip: IpAddr = parse_ip(host).map_err(|_no_ip| invalid(host, "must be a valid IP"))?;
    let number = port.parse().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()));
    match number {
        Some(number) if number > 0 => Ok(SocketAddr::new(ip, number)),
        _ => Err(invalid(port, "must be a valid port")),
    }
}

/// Host and port, the host of IPv6 in brackets.
fn split(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(rest) => Some((rest.strip_suffix(']')?, port)),
        None if host.contains(':') => None,
        None => Some((host, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_with_a_port() {
        let cases = [
            ("127.0.0.1:80", Ok("127.0.0.1:80")),
            ("010.0.0.1:80", Ok("10.0.0.1:80")),
            ("[::1]:65535", Ok("[::1]:65535")),
            ("[::]:10256", Ok("[::]:10256")),
            ("", Err(("", "must be IP:port"))),
            ("0.0.0.0", Err(("0.0.0.0", "must be IP:port"))),
            ("::", Err(("::", "must be IP:port"))),
            ("::1:99999", Err(("::1:99999", "must be IP:port"))),
            ("[::1]", Err(("[::1]", "must be IP:port"))),
            ("127.0.0.1:0", Err(("0", "must be a valid port"))),
            ("127.0.0.1:65536", Err(("65536", "must be a valid port"))),
            ("127.0.0.1:+80", Err(("+80", "must be a valid port"))),
            ("127.0.0.1:", Err(("", "must be a valid port"))),
            (":10256", Err(("", "must be a valid IP"))),
            ("localhost:10256", Err(("localhost", "must be a valid IP"))),
        ];
        for (text, expected) in cases {
            let found = parse(text).map(|address| address.to_string());
            let expected = expected.map(str::to_owned);
            let expected = expected.map_err(|(part, wanted)| BindError { part: part.to_owned(), wanted });
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn an_ip_gets_a_port_unless_it_has_one() {
        let cases = [
            ("0.0.0.0", "0.0.0.0:10256"),
            ("::", "[::]:10256"),
            ("::1", "[::1]:10256"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("nonsense", "nonsense"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(with_port(text, HEALTHZ_PORT), expected, "{text:?}");
        }
    }
}
