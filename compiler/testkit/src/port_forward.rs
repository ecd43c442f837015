//! Port-forwarding by websocket: `v4.channel.k8s.io`, as a kubelet speaks it. A message begins with the number of its
//! channel: two per port, 2n for data and 2n+1 for what went wrong; the first on each carries the port.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use crate::request::Options;
use crate::status::Status;

/// The one subprotocol that kubelets speak here.
const PROTOCOL: &str = "v4.channel.k8s.io";

/// How long a client may take to hang up once all is said.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where the ports of pods really are.
#[derive(Debug, Default)]
pub struct Forwards {
    places: Mutex<BTreeMap<(String, String, u16), SocketAddr>>,
    cut: watch::Sender<()>,
}

impl Forwards {
    fn places(&self) -> MutexGuard<'_, BTreeMap<(String, String, u16), SocketAddr>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forwards a port of a pod, which must be in the store, to `address`. What nobody has told of refuses.
    pub fn add(&self, namespace: &str, pod: &str, port: u16, address: SocketAddr) {
        self.places().insert((namespace.to_owned(), pod.to_owned(), port), address);
    }

    /// Ends all connections that are being forwarded.
    pub fn cut(&self) {
        self.cut.send_replace(());
    }

    /// Accepts a request for ports of a pod.
    pub(crate) fn accept(
        &self,
        (namespace, pod): (&str, &str),
        options: &Options,
        headers: &HeaderMap,
    ) -> Result<Accepted, Status> {
        let text =
            |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let upgrades = text(header::UPGRADE).eq_ignore_ascii_case("websocket");
        let offered = text(header::SEC_WEBSOCKET_PROTOCOL).split(',').any(|it| it.trim() == PROTOCOL);
        let key = text(header::SEC_WEBSOCKET_KEY);
        if !upgrades || key.is_empty() || !offered {
            return Err(Status::bad_request(format!("expected an upgrade to websocket with {PROTOCOL}")));
        }
        let ports = options.get("ports").unwrap_or_default().split(',').map(str::parse::<u16>);
        let ports: Vec<u16> = ports.collect::<Result<_, _>>().map_err(|_| Status::bad_request("ports"))?;
        let places = self.places();
        let place = |port| places.get(&(namespace.to_owned(), pod.to_owned(), port)).copied();
        let ports = ports.into_iter().map(|port| (port, place(port))).collect();
        Ok(Accepted { key: derive_accept_key(key.as_bytes()), ports, cut: self.cut.subscribe() })
    }
}

/// A request for ports that was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    key: String,
    ports: Vec<(u16, Option<SocketAddr>)>,
    cut: watch::Receiver<()>,
}

impl Accepted {
    /// The status of the answer.
    pub(crate) const STATUS: StatusCode = StatusCode::SWITCHING_PROTOCOLS;

    /// Forwards in the background, once the answer with these headers is out.
    pub(crate) fn forward(self, head: Parts) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = vec![
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL)),
        ];
        let key = HeaderValue::try_from(&self.key).ok();
        headers.extend(key.map(|key| (header::SEC_WEBSOCKET_ACCEPT, key)));
        let Self { ports, mut cut, .. } = self;
        tokio::spawn(async move {
            let Ok(upgraded) = hyper::upgrade::on(Request::from_parts(head, ())).await else { return };
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            tokio::select! { () = relay(socket, ports) => {}, _ = cut.changed() => {} }
        });
        headers
    }
}

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Serves all ports of one connection until the client goes or no port is left.
async fn relay(socket: Socket, ports: Vec<(u16, Option<SocketAddr>)>) {
    let (mut sink, mut messages) = socket.split();
    let (out, mut outgoing) = mpsc::channel(16);
    let mut relaying = JoinSet::new();
    let mut inlets = Vec::new();
    for (channel, (port, address)) in (0..).step_by(2).zip(ports) {
        let (inlet, incoming) = mpsc::channel(16);
        inlets.push(inlet);
        relaying.spawn(serve_port(channel, port, address, incoming, out.clone()));
    }
    drop(out);
    let to_client = async {
        while let Some(message) = outgoing.recv().await {
            sink.send(message).await?;
        }
        sink.send(Message::Close(None)).await
    };
    let from_client = async {
        while let Some(Ok(message)) = messages.next().await {
            match message {
                Message::Binary(mut bytes) if bytes.len() > 1 => {
                    let channel = usize::from(bytes.split_to(1)[0]);
                    let inlet = inlets.get(channel / 2).filter(|_| channel.is_multiple_of(2));
                    if let Some(inlet) = inlet {
                        // A pod that has hung up is told of by its end.
                        drop(inlet.send(bytes).await);
                    }
                }
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    let all_said = tokio::select! { sent = to_client => sent.is_ok(), () = from_client => false };
    if all_said {
        // A connection that is closed with bytes unread is reset, and the client may never see what was said last.
        let rest = async { while let Some(Ok(_)) = messages.next().await {} };
        drop(timeout(FAREWELL, rest).await);
    }
}

/// Serves one port until the pod hangs up.
async fn serve_port(
    channel: u8,
    port: u16,
    address: Option<SocketAddr>,
    mut incoming: mpsc::Receiver<Bytes>,
    out: mpsc::Sender<Message>,
) {
    let say = async |channel: u8, bytes: &[u8]| {
        out.send(Message::binary([&[channel][..], bytes].concat())).await.is_ok()
    };
    for channel in [channel, channel + 1] {
        if !say(channel, &port.to_le_bytes()).await {
            return;
        }
    }
    let connected = match address {
        Some(address) => TcpStream::connect(address).await.map_err(|error| error.to_string()),
        None => Err("connect: connection refused".to_owned()),
    };
    let (mut from_pod, mut to_pod) = match connected {
        Ok(pod) => pod.into_split(),
        Err(error) => {
            let error = format!("error forwarding port {port} to pod: {error}");
            say(channel + 1, error.as_bytes()).await;
            return;
        }
    };
    let back = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from_pod.read(&mut buffer).await {
            if !say(channel, &buffer[..length]).await {
                return;
            }
        }
    };
    let forth = async {
        while let Some(bytes) = incoming.recv().await {
            if to_pod.write_all(&bytes).await.is_err() {
                return;
            }
        }
        drop(to_pod.shutdown().await);
    };
    tokio::select! { () = back => {}, () = forth => {} }
}
