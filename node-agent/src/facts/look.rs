//! Looking: the facts of the network namespace in which this process is.

use std::io;

use flock_proto::{BridgeNf, NodeFacts, PortKind};
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

use super::Mode;
use super::devices::{Devices, flowtable_question, questions};
use super::netlink::{Message, messages};
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
        ask(ROUTE, &question, &mut devices)?;
    }
    // A kernel that has no flowtables, or does not tell this process, has none that anybody could know of.
    let _: io::Result<()> = ask(Some(NETFILTER), &flowtable_question(), &mut devices);
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
    })
}

/// Asks for all there is of something, and hears the answer to its end. The kernel answers at once.
fn ask(protocol: Option<Protocol>, question: &[u8], devices: &mut Devices) -> io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    send(&socket, question, SendFlags::empty())?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let (length, _) = match recv(&socket, &mut *buffer, RecvFlags::empty()) {
            Err(Errno::INTR) => continue,
            received => received?,
        };
        for message in messages(buffer.get(..length).unwrap_or_default()) {
            match message {
                Message::One(kind, body) => devices.hear(kind, body),
                Message::Done => return Ok(()),
                Message::Error(number) => return Err(io::Error::from_raw_os_error(number)),
            }
        }
    }
}
