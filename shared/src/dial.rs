//! Where the compiler is, and how its clients (agents, flockctl) reach it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint, Error, Uri};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How often an HTTP/2 ping is sent, also while nothing else is, and how long its answer may take.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_LIMIT: Duration = Duration::from_secs(20);

/// The compiler's address. What a transport needs beyond the address belongs here too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompilerUrl {
    uri: Uri,
}

/// Why a string is no address of a compiler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It does not parse, or has parts that mean nothing here.
    #[error("is not a URL such as http://127.0.0.1:7443")]
    Malformed,
    /// Plain text would leave the machine.
    #[error("is plain text, which is dialled on loopback only (127.0.0.0/8, ::1, localhost)")]
    PlaintextBeyondLoopback,
    /// TLS.
    #[error("asks for TLS, which needs a certificate; this version has no option for one yet")]
    TlsWithoutCertificate,
}

impl FromStr for CompilerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(UrlError::Malformed);
        };
        if authority.as_str().contains('@')
            || authority.host().is_empty()
            || uri.path() != "/"
            || uri.query().is_some()
        {
            return Err(UrlError::Malformed);
        }
        match scheme {
            "http" if is_loopback(authority.host()) => Ok(Self { uri }),
            "http" => Err(UrlError::PlaintextBeyondLoopback),
            "https" => Err(UrlError::TlsWithoutCertificate),
            _ => Err(UrlError::Malformed),
        }
    }
}

impl fmt::Display for CompilerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Connects to the compiler.
///
/// # Errors
/// When no HTTP/2 connection comes about in time.
pub async fn connect(compiler: &CompilerUrl) -> Result<Channel, Error> {
    Endpoint::from(compiler.uri.clone())
        .connect_timeout(CONNECT_LIMIT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_LIMIT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<CompilerUrl, UrlError> {
        text.parse()
    }

    #[test]
    fn plain_text_stays_on_loopback() {
        for url in
            ["http://127.0.0.1:9400", "http://127.8.9.1:1/", "http://[::1]:9400", "http://localhost:9400"]
        {
            assert!(parse(url).is_ok(), "{url}");
        }
        for url in
            ["http://10.0.0.1:9400", "http://[::2]:9400", "http://localhost.example:1", "http://0.0.0.0:1"]
        {
            assert_eq!(parse(url), Err(UrlError::PlaintextBeyondLoopback), "{url}");
        }
    }

    #[test]
    fn tls_is_refused_plainly() {
        assert_eq!(parse("https://compiler:9400"), Err(UrlError::TlsWithoutCertificate));
    }

    #[test]
    fn anything_else_is_malformed() {
        for url in [
            "",
            "127.0.0.1:9400",
            "/x",
            "ftp://127.0.0.1",
            "http://a@127.0.0.1",
            "http://127.0.0.1/x",
            "http://127.0.0.1/?x",
        ] {
            assert_eq!(parse(url), Err(UrlError::Malformed), "{url}");
        }
    }
}
