//! The threads of a place: one sends and connects, one receives.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flock_lab::{Namespace, Pod, Protocol};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::connects::{self, Connect};
use crate::datagrams::{self, Datagrams};
use crate::flows::Flow;
use crate::judge::Observation;
use crate::policies::{KEPT_PORT, UDP_PORTS};
use crate::stage::Place;

/// The longest sleep: how late a thread may see that it is to end.
const NAP: Duration = Duration::from_millis(20);

/// What all places write into.
pub(crate) struct Record {
    pub(crate) flows: Vec<Flow>,
    pub(crate) datagrams: Datagrams,
    pub(crate) connects: Mutex<Vec<Observation>>,
}

impl Record {
    pub(crate) fn new(flows: Vec<Flow>) -> Self {
        Self { datagrams: Datagrams::new(flows.len()), flows, connects: Mutex::default() }
    }

    fn note(&self, connects: Vec<Observation>) {
        self.connects.lock().unwrap_or_else(PoisonError::into_inner).extend(connects);
    }
}

/// A thread that ends when told, and with it its sockets.
struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(namespace: &Namespace, work: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, namespace) = (Arc::clone(&stop), namespace.clone());
        let thread = thread::spawn(move || namespace.enter(|| work(&stopped)).unwrap());
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// The traffic of one place.
pub(crate) struct Traffic {
    quiet: Arc<AtomicBool>,
    // Dropped in this order: echoes of what the receiver found last still reach the sender's sockets.
    receiver: Option<Worker>,
    sender: Option<Worker>,
}

impl Traffic {
    /// Receives on a place.
    pub(crate) fn receive(place: &Place, pod: &Pod, record: &Arc<Record>) -> Self {
        let bind = |address: SocketAddr| datagrams::bound(address).unwrap();
        let ports = || UDP_PORTS.into_iter().chain([KEPT_PORT]);
        let addresses = place.addresses.iter().flat_map(|address| ports().map(|port| (*address, port)));
        let sockets: Vec<UdpSocket> =
            pod.enter(|| addresses.map(SocketAddr::from).map(bind).collect()).unwrap();
        let record = Arc::clone(record);
        let receiver = Worker::start(pod, move |stop| {
            loop {
                let last = stop.load(Ordering::Relaxed);
                sockets.iter().for_each(|socket| record.datagrams.receive(socket));
                if last {
                    return;
                }
                wait(sockets.iter().map(|socket| (socket.as_fd(), PollFlags::POLLIN)), NAP);
            }
        });
        Self { quiet: Arc::default(), receiver: Some(receiver), sender: None }
    }

    /// Sends the flows of the place with this index, too. Where they lead somebody must receive already.
    pub(crate) fn send(&mut self, index: usize, pod: &Pod, record: &Arc<Record>) {
        let (record, quiet) = (Arc::clone(record), Arc::clone(&self.quiet));
        self.sender = Some(Worker::start(pod, move |stop| send(index, &record, &quiet, stop)));
    }

    /// Ends the traffic of all places: nothing more is sent, what is on its way is judged, then all threads end.
    pub(crate) fn end(mut all: Vec<Self>) {
        for traffic in &all {
            traffic.quiet.store(true, Ordering::Relaxed);
        }
        thread::sleep(connects::JUDGED + 2 * NAP);
        all.iter_mut().for_each(|traffic| drop(traffic.receiver.take()));
        all.iter_mut().for_each(|traffic| drop(traffic.sender.take()));
    }
}

/// A flow of datagrams, or one of connections, with what it needs and when it is due.
struct Sending {
    flow: usize,
    socket: Option<UdpSocket>,
    due: Instant,
}

fn send(place: usize, record: &Record, quiet: &AtomicBool, stop: &AtomicBool) {
    let own = record.flows.iter().enumerate().filter(|(_, flow)| flow.from == place);
    let mut own: Vec<Sending> = own
        .map(|(index, flow)| Sending {
            flow: index,
            socket: (flow.protocol == Protocol::Udp).then(|| datagrams::sender(flow).unwrap()),
            due: Instant::now(),
        })
        .collect();
    let mut connects: Vec<Connect> = Vec::new();
    loop {
        let last = stop.load(Ordering::Relaxed);
        let mut done = Vec::new();
        connects.retain(|connect| {
            let observation = connect.progress();
            done.extend(observation);
            observation.is_none()
        });
        record.note(done);
        let sockets = || own.iter().filter_map(|sending| sending.socket.as_ref());
        sockets().for_each(|socket| record.datagrams.echoes(socket));
        if last {
            return;
        }
        let mut nap = NAP;
        if !quiet.load(Ordering::Relaxed) {
            for sending in own.iter_mut().filter(|sending| sending.due <= Instant::now()) {
                let flow = &record.flows[sending.flow];
                sending.due = Instant::now() + flow.period;
                match &sending.socket {
                    Some(socket) => record.datagrams.send(sending.flow, socket),
                    None => connects.extend(Connect::start(sending.flow, flow).unwrap()),
                }
            }
            let next = own.iter().map(|sending| sending.due).min();
            nap = next.map_or(NAP, |next| next.saturating_duration_since(Instant::now()).min(NAP));
        }
        let echoes = own.iter().filter_map(|sending| sending.socket.as_ref());
        let echoes = echoes.map(|socket| (socket.as_fd(), PollFlags::POLLIN));
        let handshakes = connects.iter().map(|connect| (connect.stream.as_fd(), PollFlags::POLLOUT));
        wait(echoes.chain(handshakes), nap);
    }
}

fn wait<'a>(wanted: impl Iterator<Item = (BorrowedFd<'a>, PollFlags)>, limit: Duration) {
    let mut wanted: Vec<PollFd<'_>> = wanted.map(|(fd, events)| PollFd::new(fd, events)).collect();
    let limit = PollTimeout::try_from(limit.as_millis() + 1).unwrap_or(PollTimeout::MAX);
    match poll(&mut wanted, limit) {
        Ok(_) | Err(nix::Error::EINTR) => {}
        Err(error) => panic!("poll: {error}"),
    }
}
