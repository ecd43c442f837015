//! Thousands of connections of whom nothing is heard, from some thirty addresses: probes and agents get in as if they
//! were not there.
//!
//! The short form has room for few and is quick. `FLOCK_SILENT=9000` has as many connections as it says, the limits that
//! the compiler has, and prints how long who came had to wait (`--nocapture`).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use flock_compiler::engine::Engine;
use flock_compiler::listen::{self, PreAuthLimiter};
use flock_compiler::metrics::Metrics;
use flock_compiler::service::{self, Context, Limits};
use flock_shared::dial::{self, Trust};
use flock_testkit::agent::FakeAgent;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::admin::Admin;
use super::cluster::{Cluster, NAME, PATIENCE, until};
use super::compiler::{Compiler, Setup};
use super::stream;

/// Addresses that the silent ones have.
const ADDRESSES: usize = 30;

/// Others, of somebody who comes for the first time and of one who was there before.
const NEW: Ipv4Addr = Ipv4Addr::new(127, 7, 7, 7);
const KNOWN: Ipv4Addr = Ipv4Addr::new(127, 8, 8, 8);

/// How often one may have to try.
const TRIES: usize = 3;

/// Nothing ends by itself while a test runs.
const LONG: Duration = Duration::from_secs(3600);

/// How many silent ones there are, and whether that is as many as they say who measure.
fn silent(short: usize) -> (usize, bool) {
    let limit = getrlimit(Resource::Nofile);
    // What it is then is seen by how far the test comes.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    match std::env::var("FLOCK_SILENT").ok().and_then(|number| number.parse().ok()) {
        Some(number) => (number, true),
        None => (short, false),
    }
}

/// Room for few, or as much as the compiler has.
fn room(is_long: bool) -> PreAuthLimiter {
    if is_long { PreAuthLimiter::default() } else { PreAuthLimiter::new(256, 64) }
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(to).await
}

/// Connections that say nothing, from all addresses in turn.
struct Crowd {
    held: Vec<TcpStream>,
    _again: JoinSet<()>,
}

impl Crowd {
    /// So many. In the long form each is made again a second after its end.
    async fn new(count: usize, is_long: bool, to: SocketAddr) -> Self {
        let (mut held, mut again) = (Vec::with_capacity(count), JoinSet::new());
        for number in 0..count {
            let from = Ipv4Addr::new(127, 1, 1, u8::try_from(number % ADDRESSES).unwrap() + 1);
            if is_long {
                again.spawn(async move {
                    loop {
                        if let Ok(mut stream) = connect(from, to).await {
                            drop(stream.read(&mut [0]).await);
                        }
                        sleep(Duration::from_secs(1)).await;
                    }
                });
                continue;
            }
            // The kernel's queue may be full where nobody takes from it.
            if let Ok(Ok(stream)) = timeout(Duration::from_secs(1), connect(from, to)).await {
                held.push(stream);
            }
        }
        if is_long {
            sleep(Duration::from_secs(3)).await;
        }
        Self { held, _again: again }
    }
}

/// Where connections can be made that then come from `from`.
async fn by_way_of(from: Ipv4Addr, to: SocketAddr, tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut ways = JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            ways.spawn(async move {
                if let Ok(mut far) = connect(from, to).await {
                    drop(copy_bidirectional(&mut near, &mut far).await);
                }
            });
        }
    });
    address
}

/// What comes of trying, a few times; how long the longest try took is printed where that is asked.
async fn tried<T>(what: &str, is_long: bool, attempt: impl AsyncFn() -> Option<T>) -> T {
    for number in 1..=TRIES {
        let start = Instant::now();
        let done = timeout(PATIENCE, attempt()).await.unwrap_or_else(|_| panic!("{what}: nobody answers"));
        #[expect(clippy::print_stdout, reason = "asked for")]
        if is_long {
            println!("{what}, try {number}: {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);
        }
        if let Some(done) = done {
            return done;
        }
    }
    panic!("{what}: none of {TRIES} tries came to anything");
}

/// The status of a page over TLS.
async fn probed(address: SocketAddr, cluster: &Cluster) -> Option<String> {
    let mut stream = super::compiler::try_tls(address, cluster, &[]).await.ok()?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: compiler\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}

/// An agent at `address` that has had its first update.
async fn served(address: SocketAddr, cluster: &Cluster) -> Option<FakeAgent> {
    let trust = Trust { ca_file: cluster.ca_file(), server_name: Some(NAME.to_owned()) };
    let channel = dial::connect(&format!("https://{address}").parse().unwrap(), Some(&trust)).await.ok()?;
    let mut stream = stream::open(channel, Some(&cluster.token("n1")), "n1").await.ok()?;
    stream.take().await.ok()?;
    Some(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_answered_while_thousands_of_connections_are_silent() {
    let (count, is_long) = silent(1200);
    let cluster = Cluster::start().await;
    let limiter = if is_long {
        PreAuthLimiter::for_probes(20_000.try_into().unwrap())
    } else {
        PreAuthLimiter::new(64, 16)
    };
    let handshake = if is_long { Duration::from_secs(10) } else { LONG };
    let mut admin = Admin::start_with(&cluster, limiter, handshake).await;
    admin.manager.look().await.unwrap();
    let mut tasks = JoinSet::new();
    let elsewhere = by_way_of(NEW, admin.address, &mut tasks).await;
    let _crowd = Crowd::new(count, is_long, admin.address).await;
    for _ in 0..if is_long { 50 } else { 5 } {
        tried("a probe from this machine", is_long, async || probed(admin.address, &cluster).await).await;
        tried("a probe from elsewhere", is_long, async || probed(elsewhere, &cluster).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_get_in_while_thousands_of_connections_are_silent() {
    let (count, is_long) = silent(1200);
    let cluster = Cluster::start().await;
    let limits =
        if is_long { Limits::default() } else { Limits { authentication: LONG, ..Limits::default() } };
    let handshake = if is_long { Duration::from_secs(10) } else { LONG };
    let setup = Setup { limiter: room(is_long), limits, handshake, ..Setup::default() };
    let compiler = Compiler::start_with(&cluster, setup).await;
    let mut tasks = JoinSet::new();
    let known = by_way_of(KNOWN, compiler.address, &mut tasks).await;
    let new = by_way_of(NEW, compiler.address, &mut tasks).await;
    let mut before = tried("before", is_long, async || served(known, &cluster).await).await;
    let _crowd = Crowd::new(count, is_long, compiler.address).await;
    for _ in 0..if is_long { 50 } else { 5 } {
        tried("an agent that is known", is_long, async || served(known, &cluster).await).await;
        tried("a new agent", is_long, async || served(new, &cluster).await).await;
    }
    cluster.change();
    before.take().await.expect("who is in stays in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_text_has_the_same_bounds() {
    let (count, is_long) = silent(1200);
    let metrics = Arc::new(Metrics::default());
    let (engine, handle) = Engine::new(Arc::clone(&metrics));
    let (_events, incoming) = mpsc::channel(1);
    let (_stop, stopping) = watch::channel(false);
    let authentication = if is_long { Limits::default().authentication } else { Duration::from_secs(2) };
    let limits = Limits { authentication, ..Limits::default() };
    let context = Context { limits, ..Context::in_memory(handle, Arc::clone(&metrics), stopping) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = listen::plain_limited(listener, room(is_long), Arc::clone(&metrics));
    let mut tasks = JoinSet::new();
    tasks.spawn(async { drop(engine.run(incoming).await) });
    tasks.spawn(async { service::serve(connections, context, std::future::pending()).await.unwrap() });
    let dropped = |what: &str| {
        let series = format!("flock_compiler_dropped_total{{what=\"{what}\"}} ");
        let text = metrics.text();
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or(0_usize)
    };
    let ask = async |address: SocketAddr| {
        let channel = dial::connect(&format!("http://{address}").parse().unwrap(), None).await.ok()?;
        let mut health = HealthClient::new(channel);
        health.check(HealthCheckRequest { service: String::new() }).await.ok()?;
        Some(health)
    };
    let new = by_way_of(NEW, address, &mut tasks).await;
    let mut before = tried("before", is_long, async || ask(new).await).await;
    let crowd = Crowd::new(count, is_long, address).await;
    for _ in 0..if is_long { 50 } else { 5 } {
        tried("a client in plain text", is_long, async || ask(new).await).await;
    }
    until("all of them have gone", || dropped("crowding") + dropped("strangers") >= crowd.held.len()).await;
    let request = HealthCheckRequest { service: String::new() };
    before.check(request).await.expect("who has asked for something may stay");
}
