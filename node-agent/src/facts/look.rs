//! Looking: the facts of the network namespace in which this process is.

use std::collections::BTreeSet;
use std::io;

use flock_proto::{BridgeNf, NodeFacts, PortKind};
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

use super::Mode;
use super::devices::{Devices, counters_question, flowtable_question, questions};
use super::netlink::{Message, is_interrupted, messages};
use super::passage::Counters;
use super::settings::{BRIDGE_NF, Settings};

/// `NETLINK_ROUTE` is protocol 0, which is the default.
pub(super) const ROUTE: Option<Protocol> = None;

/// The longest datagram of an answer: what the kernel fills.
const DATAGRAM: usize = 32 << 10;

/// Looks, and switches on what is to be switched on.
///
/// # Errors
/// When the kernel does not tell its devices.
pub(super) fn look(mode: Mode) -> io::Result<NodeFacts> {
    let (mut devices, settings) = (Devices::default(), Settings::default());
    for question in questions() {
        // What comes or goes meanwhile is news, after which it is looked again.
        let _: Told = ask(ROUTE, &question, |kind, body| devices.hear(kind, body))?;
    }
    // A kernel that has no flowtables, or does not tell this process, has none that anybody could know of.
    let _: io::Result<Told> =
        ask(Some(NETFILTER), &flowtable_question(), |kind, body| devices.hear(kind, body));
    let bridges = devices.bridges();
    let is_of_pods = bridges.iter().flat_map(|bridge| &bridge.ports).any(|port| port.kind == PortKind::Veth);
    let [bridge_nf_v4, bridge_nf_v6] = BRIDGE_NF.map(|setting| {
        let found = settings.bridge_nf(setting);
        if found == BridgeNf::Off && is_of_pods && mode == Mode::Set {
            // What it has come to is read, and told.
            let _: io::Result<()> = settings.show_bridges(setting);
            return settings.bridge_nf(setting);
        }
        found
    });
    Ok(NodeFacts {
        bridges,
        bridge_nf_v4,
        bridge_nf_v6,
        tunnel_ports: devices.tunnel_ports().clone(),
        accept_source_route: settings.accept_source_route(),
        ipvs: settings.has_ipvs(),
        flowtables: devices.flowtables().clone(),
        netkit: devices.has_netkit(),
        openvswitch: devices.has_open_vswitch(),
        // Both are looked at more rarely.
        bypassed: false,
        enforcers: BTreeSet::new(),
    })
}

/// What has been counted so far.
///
/// # Errors
/// When the kernel does not tell.
pub(super) fn counters() -> io::Result<Counters> {
    let mut devices = Devices::default();
    // Of devices that come or go meanwhile, nothing is said yet.
    let _: Told = ask(ROUTE, &counters_question(), |kind, body| devices.hear(kind, body))?;
    let [taken_in, forwarded] = Settings::default().packets()?;
    // What the node says to itself is no sign that pods' packets come to IP.
    let taken_in = taken_in.saturating_sub(devices.looped());
    Ok(Counters { sent: devices.sent_by_pairs(), taken_in, forwarded })
}

/// The names of all devices.
///
/// # Errors
/// When the kernel does not tell them, or not at one moment.
pub(crate) fn names() -> io::Result<BTreeSet<String>> {
    let mut devices = Devices::default();
    let [links, _] = questions();
    match ask(ROUTE, &links, |kind, body| devices.hear(kind, body))? {
        Told::AtOneMoment => Ok(devices.names()),
        // A link that such an answer lacks may be there, and its sandbox would be taken for gone.
        Told::WhileItChanged => Err(io::ErrorKind::Interrupted.into()),
    }
}

/// How an answer that is several datagrams was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing came or went meanwhile.
    AtOneMoment,
    /// Something may be missing.
    WhileItChanged,
}

/// Asks for all there is of something, and hears the answer to its end. The kernel answers at once.
///
/// # Errors
/// When the kernel refuses to tell.
pub(crate) fn ask(
    protocol: Option<Protocol>,
    question: &[u8],
    mut hear: impl FnMut(u16, &[u8]),
) -> io::Result<Told> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    send(&socket, question, SendFlags::empty())?;
    let mut buffer = vec![0; DATAGRAM];
    let mut told = Told::AtOneMoment;
    loop {
        let (length, _) = match recv(&socket, &mut *buffer, RecvFlags::empty()) {
            Err(Errno::INTR) => continue,
            received => received?,
        };
        let datagram = buffer.get(..length).unwrap_or_default();
        if is_interrupted(datagram) {
            told = Told::WhileItChanged;
        }
        for message in messages(datagram) {
            match message {
                Message::One(kind, body) => hear(kind, body),
                Message::Done => return Ok(told),
                Message::Error(number) => return Err(io::Error::from_raw_os_error(number)),
            }
        }
    }
}
