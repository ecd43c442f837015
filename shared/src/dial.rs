//! Where the compiler is, and how its clients (agents, flockctl) reach and recognise it.

mod connector;

use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::codegen::Service;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Error, Uri};

use self::connector::Connector;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How often an HTTP/2 ping is sent, also while nothing else is, and how long its answer may take. It is for a compiler that
/// hangs; that its machine is gone the kernel notices earlier ([`connector`]).
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_LIMIT: Duration = Duration::from_secs(20);

/// The compiler's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompilerUrl {
    uri: Uri,
}

/// How a client knows that it speaks to the compiler: its certificate is for this name, by one of these authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The authorities' certificates, PEM. Read for every connection: they are exchanged while clients run.
    pub ca_file: PathBuf,
    /// The name that the certificate must be for; `None`: the URL's host.
    pub server_name: Option<String>,
}

/// Why a string is no address of a compiler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It does not parse, or has parts that mean nothing here.
    #[error("is not a URL such as https://flock-compiler.flock-system.svc:7443 or http://127.0.0.1:7443")]
    Malformed,
    /// Plain text would leave the machine.
    #[error("is plain text, which is dialled on loopback only (127.0.0.0/8, ::1, localhost)")]
    PlaintextBeyondLoopback,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// TLS, and nobody to trust.
    #[error("TLS needs the certificates of the compiler's authorities (--ca-file FILE)")]
    NoTrust,
    /// The authorities' certificates.
    #[error("cannot read the certificates of the compiler's authorities from {}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No HTTP/2 connection came about, or not in time.
    #[error(transparent)]
    Transport(#[from] Error),
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
            "https" => Ok(Self { uri }),
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

impl CompilerUrl {
    /// Returns true if what is said to it can be read on the way: it is on loopback then.
    #[must_use]
    pub fn is_plaintext(&self) -> bool {
        self.uri.scheme_str() != Some("https")
    }
}

/// Connects to the compiler. `trust` is for TLS.
///
/// # Errors
/// When no HTTP/2 connection comes about in time.
pub async fn connect(compiler: &CompilerUrl, trust: Option<&Trust>) -> Result<Channel, DialError> {
    let endpoint = endpoint(compiler.uri.clone());
    if compiler.is_plaintext() {
        return Ok(endpoint.connect_with_connector(Connector).await?);
    }
    let Trust { ca_file, server_name } = trust.ok_or(DialError::NoTrust)?;
    let ca = std::fs::read(ca_file).map_err(|source| DialError::CaFile { path: ca_file.clone(), source })?;
    let tls = match server_name {
        Some(name) => tls(&ca).domain_name(name),
        None => tls(&ca),
    };
    Ok(endpoint.tls_config(tls)?.connect_with_connector(Connector).await?)
}

/// Returns true if somebody answers with a certificate where the compiler should be. By whom it is, nobody is there to say
/// without an authority, so the handshake ends with it, and nothing is said over the connection.
pub async fn shows_certificate(compiler: &CompilerUrl, server_name: Option<&str>) -> bool {
    // An address of IPv6 is without its brackets in a certificate.
    let host = compiler.uri.host().unwrap_or_default();
    let name = server_name.unwrap_or_else(|| host.trim_start_matches('[').trim_end_matches(']'));
    // No authority is trusted: a handshake that comes to a certificate fails over it.
    let tls = ClientTlsConfig::new().domain_name(name).timeout(CONNECT_LIMIT);
    match endpoint(compiler.uri.clone()).tls_config(tls) {
        Ok(endpoint) => {
            endpoint.connect_with_connector(Connector).await.is_err_and(|error| is_about_certificate(&error))
        }
        Err(_) => false,
    }
}

/// Returns true if a certificate was the reason.
fn is_about_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        // An error of the system's kind holds another one that is not its cause, but itself.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = held.map_or_else(|| error.downcast_ref(), |held| held.downcast_ref());
        if let Some(rustls::Error::InvalidCertificate(_)) = found {
            return true;
        }
        next = error.source();
    }
    false
}

/// Speaks to the compiler over a stream that leads to it, with TLS. Its certificate must be for `server_name`, by an
/// authority of `ca` (PEM). When the stream ends, so does the channel.
///
/// # Errors
/// When no HTTP/2 connection comes about in time.
pub async fn connect_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    server_name: &str,
    ca: &[u8],
) -> Result<Channel, DialError> {
    let endpoint =
        endpoint(Uri::from_static("https://compiler")).tls_config(tls(ca).domain_name(server_name))?;
    Ok(endpoint.connect_with_connector(Once(Some(stream))).await?)
}

fn tls(ca: &[u8]) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).timeout(CONNECT_LIMIT)
}

/// Leads to the one stream that there is.
struct Once<S>(Option<S>);

impl<S> Service<Uri> for Once<S> {
    type Response = TokioIo<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<S>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().map(TokioIo::new).ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

fn endpoint(uri: Uri) -> Endpoint {
    Endpoint::from(uri)
        .connect_timeout(CONNECT_LIMIT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_LIMIT)
        .keep_alive_while_idle(true)
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
    fn tls_goes_anywhere() {
        for url in ["https://flock-compiler.flock-system.svc:7443", "https://10.0.0.1:1", "https://[::2]"] {
            assert!(!parse(url).unwrap().is_plaintext(), "{url}");
        }
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
