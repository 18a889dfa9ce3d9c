//! Which proxy to use for a server, by the rules of Go's `golang.org/x/net/http/httpproxy`, which are
//! client-go's. They differ from curl's, which hyper-util has, in ports, leading dots and loopback.

use std::fmt;
use std::net::IpAddr;

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use ipnet::IpNet;
use tracing::warn;

/// A proxy; prints without its user and password.
#[derive(Clone)]
pub(super) struct Proxy {
    /// `http://host:port`, or `https:` for connections to it over TLS.
    pub(super) address: Uri,
    pub(super) protocol: Protocol,
    name: String,
}

/// The protocol of a proxy, with the credentials for it.
#[derive(Clone)]
pub(super) enum Protocol {
    Http(Option<HeaderValue>),
    Socks5(Option<(String, String)>),
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Proxy {
    /// Reads `http://user:password@host:port`; without a scheme it is `http`.
    pub(super) fn parse(url: &str) -> Option<Self> {
        // The only use of this matcher: it reads users and passwords.
        let proxy = Matcher::builder().all(url).build().intercept(&Uri::from_static("http://any"))?;
        let uri = proxy.uri();
        let (scheme, protocol, port) = match uri.scheme_str()? {
            "http" => (Scheme::HTTP, Protocol::Http(proxy.basic_auth().cloned()), 80),
            "https" => (Scheme::HTTPS, Protocol::Http(proxy.basic_auth().cloned()), 443),
            "socks5" | "socks5h" => {
                let owned = |(user, password): (&str, &str)| (user.to_owned(), password.to_owned());
                (Scheme::HTTP, Protocol::Socks5(proxy.raw_auth().map(owned)), 1080)
            }
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(port));
        let name = format!("{}://{authority}", uri.scheme_str()?);
        let authority: Authority = authority.parse().ok()?;
        let address = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build().ok()?;
        Some(Self { address, protocol, name })
    }

    /// The proxy that these environment variables name for a server, if one.
    pub(super) fn from_environment(server: &Uri, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)))
        };
        let https = server.scheme() == Some(&Scheme::HTTPS);
        let names = if https { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
        let (name, url) = first(names)?;
        let no_proxy = first(["NO_PROXY", "no_proxy"]).map(|(_, list)| list).unwrap_or_default();
        let port = server.port_u16().unwrap_or(if https { 443 } else { 80 });
        if !uses_proxy(server.host()?, port, &no_proxy) {
            return None;
        }
        let proxy = Self::parse(&url);
        if proxy.is_none() {
            warn!(variable = name, "Ignoring a proxy that is not an http, https or socks5 URL");
        }
        proxy
    }
}

/// Whether a proxy is used for this host. `host` is as in a URL, `no_proxy` as in `NO_PROXY`.
fn uses_proxy(host: &str, port: u16, no_proxy: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = host.to_ascii_lowercase();
    let address = host.parse().ok().map(|address: IpAddr| address.to_canonical());
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return false;
    }
    !no_proxy.split(',').any(|entry| excludes(&entry.trim().to_ascii_lowercase(), &host, address, port))
}

/// Whether an entry of `NO_PROXY` matches this host.
fn excludes(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(net) = entry.parse::<IpNet>() {
        return address.is_some_and(|address| net.contains(&address));
    }
    let (name, wanted_port) = match split_port(entry) {
        Some((name, port)) => (name, Some(port)),
        None => (entry, None),
    };
    if name.is_empty() || wanted_port.is_some_and(|wanted| !wanted.is_empty() && wanted != port.to_string()) {
        return false;
    }
    if let Ok(excluded) = name.parse::<IpAddr>() {
        return address == Some(excluded.to_canonical());
    }
    // `.domain` and `*.domain` match what is below it, `domain` matches itself as well.
    match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
        Some(domain) => is_below(host, domain),
        None => host == name || is_below(host, name),
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|front| front.ends_with('.'))
}

/// Splits `host:port` and `[address]:port` as Go does; nothing for a host alone.
fn split_port(entry: &str) -> Option<(&str, &str)> {
    let (host, port) = entry.rsplit_once(':')?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    bracketed.or((!host.contains([':', '[', ']'])).then_some(host)).map(|host| (host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_follows_gos_rules() {
        let cases: &[(&str, &str, bool)] = &[
            // Host and port, NO_PROXY, whether the proxy is used. The first ones are never proxied.
            ("localhost:6443", "", false),
            ("LOCALHOST:6443", "", false),
            ("127.0.0.1:6443", "", false),
            ("127.8.8.8:6443", "", false),
            ("[::1]:6443", "", false),
            ("[::ffff:127.0.0.1]:6443", "", false),
            ("localhost.example:6443", "", true),
            ("api.example:6443", "", true),
            ("10.0.0.1:6443", " , ,", true),
            ("api.example:6443", "*", false),
            ("api.example:6443", "other, *", false),
            // Addresses and ranges.
            ("10.0.0.1:6443", "10.0.0.1", false),
            ("10.0.0.1:6443", "10.0.0.2", true),
            ("10.0.0.1:6443", "10.0.0.1:6443", false),
            ("10.0.0.1:6443", "10.0.0.1:443", true),
            ("10.0.0.1:6443", "10.0.0.1:", false),
            ("10.0.0.1:6443", "192.168.0.0/16,10.0.0.0/8", false),
            ("10.0.0.1:6443", "10.96.0.0/12", true),
            ("10.0.0.1:6443", "0.0.0.0/0", false),
            ("10.0.0.1:6443", ".0.0.1", false),
            ("[fd00::1]:6443", "fd00::/8", false),
            ("[fd00::1]:6443", "fd00::1", false),
            ("[fd00::1]:6443", "FD00:0::1", false),
            ("[fd00::1]:6443", "[fd00::1]:6443", false),
            ("[fd00::1]:6443", "[fd00::1]:443", true),
            ("[fd00::1]:6443", "0.0.0.0/0", true),
            ("[::ffff:10.0.0.1]:6443", "10.0.0.1", false),
            // A name is never resolved, so no range is about it.
            ("api.example:6443", "0.0.0.0/0,::/0", true),
            // Names.
            ("api.example:6443", "example", false),
            ("API.Example:6443", " eXample ", false),
            ("example:6443", "example", false),
            ("api.example:6443", ".example", false),
            ("example:6443", ".example", true),
            ("api.example:6443", "*.example", false),
            ("example:6443", "*.example", true),
            ("notexample:6443", "example", true),
            ("a.b.example:6443", "b.example", false),
            ("api.example:6443", "api.example:6443", false),
            ("api.example:6443", "api.example:443", true),
            ("api.example:6443", ".example:6443", false),
            ("api.example:443", "example:443", false),
            ("api.example:6443", ":6443", true),
            ("api.example:6443", "https://api.example", true),
            ("api.example:6443", "example/8", true),
        ];
        for (server, no_proxy, expected) in cases {
            let (host, port) = server.rsplit_once(':').unwrap();
            assert_eq!(
                uses_proxy(host, port.parse().unwrap(), no_proxy),
                *expected,
                "{server} with NO_PROXY={no_proxy:?}"
            );
        }
    }

    fn with(variables: &[(&str, &str)], server: &str) -> Option<String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Proxy::from_environment(&server.parse().unwrap(), variable).map(|proxy| proxy.to_string())
    }

    #[test]
    fn the_variable_follows_from_the_scheme_and_upper_case_comes_first() {
        let both = [("HTTP_PROXY", "plain:1"), ("https_proxy", "secure:2"), ("no_proxy", "*.not")];
        assert_eq!(with(&both, "http://api").as_deref(), Some("http://plain:1"));
        assert_eq!(with(&both, "https://api").as_deref(), Some("http://secure:2"));
        assert_eq!(with(&both, "https://api.not"), None);
        assert_eq!(with(&both[..1], "https://api"), None);
        let cases = [("HTTPS_PROXY", "a"), ("https_proxy", "b"), ("NO_PROXY", "x"), ("no_proxy", "*")];
        assert_eq!(with(&cases, "https://api").as_deref(), Some("http://a:80"));
        let empty = [("HTTPS_PROXY", ""), ("https_proxy", "b"), ("NO_PROXY", ""), ("no_proxy", "*")];
        assert_eq!(with(&empty[..2], "https://api").as_deref(), Some("http://b:80"));
        assert_eq!(with(&empty, "https://api"), None, "an empty NO_PROXY is none");
        // Without a port in the URL it is the scheme's.
        let port = [("HTTPS_PROXY", "a"), ("HTTP_PROXY", "a"), ("NO_PROXY", "api:443")];
        assert_eq!(with(&port, "https://api"), None);
        assert!(with(&port, "http://api").is_some());
        // What cannot be used is ignored, as in Go, and ALL_PROXY is not Go's.
        for (name, url) in
            [("HTTPS_PROXY", "ftp://a"), ("HTTPS_PROXY", "http://a b"), ("ALL_PROXY", "http://a")]
        {
            assert_eq!(with(&[(name, url)], "https://api"), None);
        }
    }

    #[test]
    fn a_proxys_url_gives_address_protocol_and_credentials() {
        let read = |url: &str| {
            let proxy = Proxy::parse(url)?;
            let credentials = match &proxy.protocol {
                Protocol::Http(None) => "http".to_owned(),
                Protocol::Http(Some(header)) => {
                    assert!(header.is_sensitive());
                    format!("http {}", header.to_str().unwrap())
                }
                Protocol::Socks5(None) => "socks5".to_owned(),
                Protocol::Socks5(Some((user, password))) => format!("socks5 {user} {password}"),
            };
            Some(format!("{} {credentials} {proxy}", proxy.address))
        };
        for (url, expected) in [
            ("proxy", Some("http://proxy:80/ http http://proxy:80")),
            ("proxy:3128", Some("http://proxy:3128/ http http://proxy:3128")),
            ("http://proxy/path", Some("http://proxy:80/ http http://proxy:80")),
            ("https://proxy", Some("https://proxy:443/ http https://proxy:443")),
            ("http://[fd00::1]:3128", Some("http://[fd00::1]:3128/ http http://[fd00::1]:3128")),
            ("http://u:p%40ss@proxy:1", Some("http://proxy:1/ http Basic dTpwQHNz http://proxy:1")),
            ("http://u@proxy:1", Some("http://proxy:1/ http Basic dTo= http://proxy:1")),
            ("socks5://proxy", Some("http://proxy:1080/ socks5 socks5://proxy:1080")),
            ("socks5h://u:p%40ss@proxy:9", Some("http://proxy:9/ socks5 u p@ss socks5h://proxy:9")),
            ("socks4://proxy", None),
            ("ftp://proxy", None),
            ("http://", None),
            ("http://a b", None),
            ("", None),
        ] {
            assert_eq!(read(url).as_deref(), expected, "{url}");
        }
    }
}
