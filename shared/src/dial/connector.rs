//! Reaching a compiler over TCP, also where one of those behind its address has just vanished, and noticing when it has.
//!
//! A machine that loses power says nothing. Two things follow for who was connected to it:
//! - *Noticing.* The kernel asks the other one when nothing has come for a while ([`IDLE`], [`AGAIN`]), and gives up what was sent
//!   and is not acknowledged ([`SILENCE`]): 4 s after the last word at most. HTTP/2's pings could do the same, for several
//!   times the work and in both processes (shared/README.md); they remain for a process that hangs on a machine that lives.
//! - *Coming back.* A service's address leads to the dead one for some time yet (kube-proxy: until its Node is not ready, 40 s), for
//!   each connection anew by chance. So attempts overlap, a hundred milliseconds apart, over all addresses that the name
//!   has, and the first that connects wins.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tonic::codegen::Service;
use tonic::transport::Uri;

/// After so long without a word the other side's kernel is asked whether it is there.
const IDLE: Duration = Duration::from_secs(1);
/// How often it is asked again while it does not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// A connection ends when the other side's kernel has said nothing for so long although it was asked, or has not acknowledged
/// what was sent. An idle one ends with the first question that is due after it, the fourth. Between two seconds, since timers are not
/// exact.
const SILENCE: Duration = Duration::from_millis(3500);

/// How long after one attempt the next begins, if it has not come to anything.
const STAGGER: Duration = Duration::from_millis(100);
/// How long it is tried. A kernel answers at once, however busy its machine is.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connects to the host and port of an URI.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connector;

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(async move {
            let host = uri.host().unwrap_or_default();
            // A URI has IPv6 addresses in brackets, with which no name is looked up.
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
            let addresses = lookup_host((host, port)).await?.collect();
            Ok(TokioIo::new(overlapping(addresses, connect).await?))
        })
    }
}

/// One attempt.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    watch_over(&socket)?;
    socket.connect(address).await
}

/// Has the kernel notice when the other side's machine is gone.
fn watch_over(socket: &TcpSocket) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, IDLE)?;
    sockopt::set_tcp_keepintvl(socket, AGAIN)?;
    // SILENCE decides. This is for kernels that go by the count.
    sockopt::set_tcp_keepcnt(socket, 3)?;
    // Where flockctl runs on other systems, HTTP/2's pings have to do.
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(socket, u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

/// What the first attempt that succeeds comes to. All addresses have their turns, one attempt begins before those before it have
/// ended; one that fails makes room for the next address at once. When all have failed that were tried, none begins anew.
///
/// # Errors
/// The last one, or that it took too long.
async fn overlapping<T, F>(addresses: Vec<SocketAddr>, attempt: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let mut attempts = JoinSet::new();
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let end = Instant::now() + PATIENCE;
    let mut turns = addresses.iter().cycle();
    let mut untried = addresses.len();
    let mut next = Instant::now();
    loop {
        let is_failed = attempts.is_empty() && untried == 0;
        if is_failed {
            return Err(error);
        }
        // In this order: what has connected counts although time is up.
        tokio::select! {
            biased;
            Some(ended) = attempts.join_next() => match ended {
                Ok(Ok(reached)) => return Ok(reached),
                Ok(Err(failed)) => {
                    error = failed;
                    if untried > 0 {
                        next = Instant::now();
                    }
                }
                // They do not panic, and nobody else ends them.
                Err(_) => {}
            },
            () = sleep_until(end) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not reached within {PATIENCE:?}")));
            }
            () = sleep_until(next) => {
                if let Some(address) = turns.next() {
                    attempts.spawn(attempt(*address));
                }
                untried = untried.saturating_sub(1);
                next = Instant::now() + STAGGER;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::net::TcpListener;
    use tokio::time::sleep;

    use super::*;

    fn addresses(count: u16) -> Vec<SocketAddr> {
        (1..=count).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
    }

    /// Tries with attempts that end as the one of this number does; when each began, and what came of all.
    async fn tried<F>(
        count: u16,
        ends: impl Fn(usize, SocketAddr) -> F,
    ) -> (Vec<(Duration, u16)>, io::Result<u16>)
    where
        F: Future<Output = io::Result<u16>> + Send + 'static,
    {
        let (begun, start) = (Arc::new(Mutex::new(Vec::new())), Instant::now());
        let attempt = |address: SocketAddr| {
            let mut begun = begun.lock().unwrap();
            begun.push((start.elapsed(), address.port()));
            ends(begun.len(), address)
        };
        let reached = overlapping(addresses(count), attempt).await;
        let begun = begun.lock().unwrap().clone();
        (begun, reached)
    }

    fn refused() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_comes_to_nothing_holds_up_no_other() {
        let silent_at_first = |number, address: SocketAddr| async move {
            if number < 4 {
                std::future::pending::<()>().await;
            }
            Ok(address.port())
        };
        let (begun, reached) = tried(1, silent_at_first).await;
        assert_eq!(reached.unwrap(), 1);
        let times: Vec<_> = begun.iter().map(|(at, _)| at.as_millis()).collect();
        assert_eq!(times, [0, 100, 200, 300], "the same address again: another one may answer there");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_connects_wins_whichever_began_first() {
        let slow_at_first = |number: usize, address: SocketAddr| async move {
            sleep(Duration::from_millis([500, 30][(number - 1).min(1)])).await;
            Ok(address.port())
        };
        let (begun, reached) = tried(3, slow_at_first).await;
        assert_eq!(reached.unwrap(), 2);
        assert_eq!(begun.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_makes_room_at_once_and_is_not_tried_again() {
        let (begun, reached) = tried(3, |_, _| async { Err(refused()) }).await;
        assert_eq!(reached.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(begun, [1, 2, 3].map(|port| (Duration::ZERO, port)));
        let one_silent = |_, address: SocketAddr| async move {
            if address.port() == 1 {
                std::future::pending::<()>().await;
            }
            Err(refused())
        };
        let (begun, reached) = tried(2, one_silent).await;
        assert_eq!(reached.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.len(), 20, "all the time that there is: {begun:?}");
        let (begun, reached) = tried(0, |_, _| async { Err(refused()) }).await;
        assert_eq!((begun.len(), reached.unwrap_err().kind()), (0, io::ErrorKind::NotFound));
    }

    /// The bound of 5 s from the moment on in which a compiler's machine vanishes is made of these.
    #[tokio::test]
    async fn a_machine_that_is_gone_is_noticed_within_four_seconds() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stream = Connector.call(url.parse().unwrap()).await.unwrap().into_inner();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let (idle, again) =
            (sockopt::tcp_keepidle(&stream).unwrap(), sockopt::tcp_keepintvl(&stream).unwrap());
        let silence = Duration::from_millis(sockopt::tcp_user_timeout(&stream).unwrap().into());
        // The kernel ends an idle connection with the first question that is due after so long a silence.
        let mut asked = idle;
        while asked < silence {
            asked += again;
        }
        assert!(asked <= Duration::from_secs(4), "{asked:?}");
        assert!(asked >= idle + 3 * again, "two questions may be lost");
        assert_eq!(idle + again * sockopt::tcp_keepcnt(&stream).unwrap(), asked);
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_name_and_an_address_in_brackets_are_found() {
        let listener = TcpListener::bind("[::1]:0").await;
        // A machine may have no IPv6.
        let Ok(listener) = listener else { return };
        let port = listener.local_addr().unwrap().port();
        for host in ["[::1]", "localhost"] {
            let found = Connector.call(format!("http://{host}:{port}").parse().unwrap()).await;
            assert!(found.is_ok() || host == "localhost", "{host}: {found:?}");
        }
    }
}
