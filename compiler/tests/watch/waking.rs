//! After an outage, the first kind that gets an answer wakes the others, and none wakes the others for ever. By the virtual
//! clock: a server in this process, without sockets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use flock_compiler::source::Source as _;
use flock_compiler::source::kubernetes::{KubernetesSource, WatchSettings};
use flock_convert::HostInterfaces;
use flock_shared::backoff::Backoff;
use futures::stream::{self, BoxStream, StreamExt as _};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Far more requests than anything here needs. What asks without end is answered no more.
const MANY: usize = 20_000;

/// How long the server lets a watch last.
const WATCH: Duration = Duration::from_secs(20);

type Answer = Response<StreamBody<BoxStream<'static, Result<Frame<Bytes>, std::io::Error>>>>;

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    /// Connections break.
    Down,
    /// It lists, and refuses watches.
    ListsOnly,
}

/// A server of empty lists and silent watches.
#[derive(Clone)]
struct Server(Arc<Inner>);

struct Inner {
    state: watch::Sender<State>,
    /// Paths and times of requests since the last look.
    asked: Mutex<Vec<(String, Instant)>>,
    is_exhausted: AtomicBool,
}

impl Server {
    fn new() -> Self {
        let state = watch::channel(State::Up).0;
        Self(Arc::new(Inner { state, asked: Mutex::default(), is_exhausted: AtomicBool::new(false) }))
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let answer = move |request: Request<Body>| {
            let server = server.clone();
            async move { server.answer(request.uri()).await }
        };
        Client::new(tower::service_fn(answer), "default")
    }

    async fn answer(&self, uri: &http::Uri) -> Result<Answer, std::io::Error> {
        let count = {
            let mut asked = self.0.asked.lock().unwrap();
            asked.push((uri.path().to_owned(), Instant::now()));
            asked.len()
        };
        if count > MANY {
            self.0.is_exhausted.store(true, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        let broken = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let is_watch = uri.query().is_some_and(|query| query.contains("watch=true"));
        let state = *self.0.state.borrow();
        let (code, body): (u16, BoxStream<'static, _>) = match state {
            State::Down => return Err(broken()),
            State::ListsOnly if is_watch => (
                503,
                whole(&json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 503, "reason": "ServiceUnavailable",
                    "message": "no watches",
                })),
            ),
            State::Up if is_watch => {
                let mut state = self.0.state.subscribe();
                let end = async move {
                    // It says nothing, and ends when its time is up, or with the server.
                    tokio::select! {
                        _ = state.changed() => Some(Err(broken())),
                        () = sleep(WATCH) => None,
                    }
                };
                (200, stream::once(end).filter_map(std::future::ready).boxed())
            }
            State::Up | State::ListsOnly => (
                200,
                whole(&json!({
                    "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": "7" }, "items": [],
                })),
            ),
        };
        Ok(Response::builder().status(code).body(StreamBody::new(body)).unwrap())
    }

    fn set(&self, state: State) {
        self.0.state.send_replace(state);
        self.0.asked.lock().unwrap().clear();
    }

    /// When each kind was asked for first since the last change.
    fn first(&self) -> BTreeMap<String, Instant> {
        let asked = self.0.asked.lock().unwrap();
        let mut first = BTreeMap::new();
        for (path, at) in asked.iter() {
            first.entry(path.clone()).or_insert(*at);
        }
        first
    }
}

fn whole(body: &serde_json::Value) -> BoxStream<'static, Result<Frame<Bytes>, std::io::Error>> {
    let bytes = Bytes::from(body.to_string());
    stream::once(async { Ok(Frame::data(bytes)) }).boxed()
}

/// A source that follows the server, as long as this is held. Its pauses are far apart: up to an hour.
fn follow(server: &Server) -> JoinSet<()> {
    let settings = WatchSettings {
        backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(3600)),
        ..WatchSettings::default()
    };
    let source = KubernetesSource::with_settings(server.client(), HostInterfaces::None, settings);
    let (events, mut told) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    tasks.spawn(async { source.run(events).await.unwrap() });
    tasks.spawn(async move { while told.recv().await.is_some() {} });
    tasks
}

#[tokio::test(start_paused = true)]
async fn the_first_that_is_answered_wakes_the_others() {
    for outage in [100, 1_000, 10_000] {
        let server = Server::new();
        let _following = follow(&server);
        sleep(Duration::from_secs(10)).await;
        assert_eq!(server.first().len(), 5, "all kinds");
        server.set(State::Down);
        sleep(Duration::from_secs(outage)).await;
        server.set(State::Up);
        // No pause is longer.
        sleep(Duration::from_secs(4000)).await;
        let first = server.first();
        assert_eq!(first.len(), 5, "{first:?}");
        let (one, last) = (first.values().min().unwrap(), first.values().max().unwrap());
        assert!(*last - *one < Duration::from_millis(10), "{outage} s: {:?} after the first", *last - *one);
    }
}

#[tokio::test(start_paused = true)]
async fn watches_that_are_refused_do_not_wake_each_other_without_end() {
    let server = Server::new();
    let _following = follow(&server);
    sleep(Duration::from_secs(10)).await;
    server.set(State::ListsOnly);
    sleep(Duration::from_secs(3600)).await;
    let asked = server.0.asked.lock().unwrap().len();
    assert!(!server.0.is_exhausted.load(Ordering::SeqCst), "they ask without end");
    // In an hour with pauses that double from one second, each kind needs some twelve tries of two requests.
    assert!(asked < 5 * 60, "{asked} requests");
    server.set(State::Up);
}
