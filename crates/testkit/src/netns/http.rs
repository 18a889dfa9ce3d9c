//! Asks small HTTP servers inside a namespace: metrics, health, health-check ports.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Namespace, NetnsError};

/// For each step; these servers sit on the same machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpReply {
    /// The status code, such as 200 or 503.
    pub status: u16,
    /// Header lines in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; chunks are not put together, which a server need not use towards HTTP/1.0.
    pub body: String,
}

impl HttpReply {
    /// The first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Some(Self { status, headers: lines.filter_map(header).collect(), body: body.to_owned() })
    }
}

/// Fetches `path` from a server that listens inside the namespace or is reached from there.
///
/// # Errors
/// When there is no connection, or the answer is no HTTP.
pub fn http_get(namespace: &Namespace, server: SocketAddr, path: &str) -> Result<HttpReply, NetnsError> {
    let url = format!("http://{server}{path}");
    let text = namespace.run(|| fetch(server, path))?.map_err(NetnsError::io("fetch", url.clone()))?;
    HttpReply::parse(&text).ok_or(NetnsError::NotHttp { url })
}

/// In HTTP/1.0, where the end of the connection is the end of the answer.
fn fetch(server: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_is_taken_apart() {
        let text = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\r\nnot yet\r\n\r\n!";

        let reply = HttpReply::parse(text).unwrap();

        assert_eq!(reply.status, 503);
        assert_eq!(reply.header("content-type"), Some("text/plain"));
        assert_eq!(reply.body, "not yet\r\n\r\n!");
    }

    #[test]
    fn other_protocols_are_distinguished() {
        assert_eq!(HttpReply::parse("SSH-2.0-server\r\n\r\n"), None);
    }
}
