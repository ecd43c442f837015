//! Datagrams with both of their addresses: a server with several addresses must answer from the one it was asked at.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::node::Family;

/// The longest packet that labs send.
pub(crate) const LONGEST: usize = 2048;

/// A datagram as it arrived.
pub(crate) struct Datagram<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) from: SocketAddr,
    pub(crate) to: IpAddr,
}

impl Family {
    pub(crate) const fn domain(self) -> Domain {
        match self {
            Self::V4 => Domain::IPV4,
            Self::V6 => Domain::IPV6,
        }
    }

    pub(crate) const fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

/// A nonblocking socket of one family, bound to `source` if given. A UDP, ping or raw socket goes into a
/// [`UdpSocket`]: the standard library's calls for datagrams suit all three.
pub(crate) fn socket(
    family: Family,
    kind: Type,
    protocol: Protocol,
    source: Option<SocketAddr>,
) -> io::Result<Socket> {
    let socket = Socket::new(family.domain(), kind, Some(protocol))?;
    // Raw sockets are of one family anyway, and refuse the question.
    if family == Family::V6 && kind != Type::RAW {
        // IPv4 has a socket of its own at the same port.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    if let Some(source) = source {
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(source))?;
    }
    Ok(socket)
}

/// A socket for [`receive`] and [`answer`].
pub(crate) fn server(family: Family, kind: Type, protocol: Protocol, port: u16) -> io::Result<UdpSocket> {
    let socket = socket(family, kind, protocol, Some(SocketAddr::new(family.unspecified(), port)))?;
    // An answer has to come from the address that was asked, of which a pod may have several.
    match family {
        Family::V4 => setsockopt(&socket, Ipv4PacketInfo, &true)?,
        Family::V6 => setsockopt(&socket, Ipv6RecvPacketInfo, &true)?,
    }
    Ok(UdpSocket::from(socket))
}

/// The next datagram, or [`io::ErrorKind::WouldBlock`].
pub(crate) fn receive<'a>(socket: &UdpSocket, buffer: &'a mut [u8; LONGEST]) -> io::Result<Datagram<'a>> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let (length, from, to) = {
        let mut slices = [IoSliceMut::new(&mut buffer[..])];
        let message = recvmsg::<SockaddrStorage>(
            socket.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let from = message.address.and_then(|address| standard(&address));
        let to = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(IpAddr::from(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr))))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                Some(IpAddr::from(Ipv6Addr::from(info.ipi6_addr.s6_addr)))
            }
            _ => None,
        });
        (message.bytes, from, to)
    };
    let (Some(from), Some(to)) = (from, to) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    Ok(Datagram { payload: &buffer[..length], from, to })
}

/// Sends `payload` from `source`, an address of this namespace, to `to`.
pub(crate) fn answer(socket: &UdpSocket, payload: &[u8], source: IpAddr, to: SocketAddr) -> io::Result<()> {
    let slices = [IoSlice::new(payload)];
    let fd = socket.as_raw_fd();
    let to = SockaddrStorage::from(to);
    match source {
        IpAddr::V4(source) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            sendmsg(
                fd,
                &slices,
                &[ControlMessage::Ipv4PacketInfo(&info)],
                MsgFlags::MSG_DONTWAIT,
                Some(&to),
            )?;
        }
        IpAddr::V6(source) => {
            let address = libc::in6_addr { s6_addr: source.octets() };
            let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
            sendmsg(
                fd,
                &slices,
                &[ControlMessage::Ipv6PacketInfo(&info)],
                MsgFlags::MSG_DONTWAIT,
                Some(&to),
            )?;
        }
    }
    Ok(())
}

fn standard(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || address.as_sockaddr_in().map(|address| SocketAddr::new(address.ip().into(), address.port()));
    let v6 = || address.as_sockaddr_in6().map(|address| SocketAddr::new(address.ip().into(), address.port()));
    v4().or_else(v6)
}

/// The payload of a raw packet: raw IPv4 sockets hand over the IP header too, raw IPv6 sockets do not.
pub(crate) fn without_ip_header(family: Family, packet: &[u8]) -> &[u8] {
    let header = match family {
        Family::V4 => packet.first().map_or(0, |byte| usize::from(byte & 0x0f) * 4),
        // Raw sockets of IPv6 leave the header out.
        Family::V6 => 0,
    };
    packet.get(header..).unwrap_or_default()
}
