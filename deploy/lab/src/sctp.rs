//! SCTP packets (RFC 9260) as far as a lab needs them: an association is set up, a heartbeat is answered. They are
//! made by hand and go through raw sockets, because kernels often come without SCTP sockets.

use crc::{CRC_32_ISCSI, Crc};

/// The IP protocol number.
pub(crate) const PROTOCOL: i32 = 132;

/// SCTP's checksum is CRC32c, sent with its least significant byte first.
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const HEADER: usize = 12;

/// The kinds of chunk that labs send and understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// Opens an association; the value is the tag that the peer must send from then on.
    Init(u32),
    /// Answers [`Chunk::Init`], with the tag for the other direction.
    InitAck(u32),
    /// Asks whether the peer is there, with a number to give back.
    Heartbeat(u32),
    /// Answers [`Chunk::Heartbeat`].
    HeartbeatAck(u32),
    /// The peer refuses.
    Abort,
    /// The third step of the handshake.
    CookieEcho,
    /// The last step of the handshake.
    CookieAck,
}

/// A packet with one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) source_port: u16,
    pub(crate) target_port: u16,
    /// The verification tag: 0 with [`Chunk::Init`], afterwards what the receiver asked for.
    pub(crate) tag: u32,
    pub(crate) chunk: Chunk,
}

impl Packet {
    /// The packet from the SCTP header on, with its checksum.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend(self.source_port.to_be_bytes());
        bytes.extend(self.target_port.to_be_bytes());
        bytes.extend(self.tag.to_be_bytes());
        bytes.extend([0; 4]);
        let (kind, body) = self.chunk.parts();
        bytes.extend([kind, 0]);
        bytes.extend(u16::try_from(4 + body.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(body);
        // In little-endian order, unlike everything else in the packet (RFC 9260, appendix A).
        let checksum = CHECKSUM.checksum(&bytes).to_le_bytes();
        bytes[8..HEADER].copy_from_slice(&checksum);
        bytes
    }

    /// The packet if it is whole, its checksum is right and its first chunk is known.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut zeroed = bytes.to_vec();
        zeroed.get_mut(8..HEADER)?.fill(0);
        if CHECKSUM.checksum(&zeroed).to_le_bytes() != bytes.get(8..HEADER)? {
            return None;
        }
        let chunk = Chunk::decode(bytes.get(HEADER..)?)?;
        let short = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        Some(Self { source_port: short(0)?, target_port: short(2)?, tag: long(bytes, 4)?, chunk })
    }

    /// What a server without memory answers: it takes the client's tag for both directions.
    pub(crate) fn answer(&self) -> Option<Self> {
        let (tag, chunk) = match self.chunk {
            Chunk::Init(tag) => (tag, Chunk::InitAck(tag)),
            Chunk::CookieEcho => (self.tag, Chunk::CookieAck),
            Chunk::Heartbeat(number) => (self.tag, Chunk::HeartbeatAck(number)),
            Chunk::InitAck(_) | Chunk::CookieAck | Chunk::HeartbeatAck(_) | Chunk::Abort => return None,
        };
        Some(Self { source_port: self.target_port, target_port: self.source_port, tag, chunk })
    }
}

impl Chunk {
    /// Type and value. INIT: tag, window, streams out and in, first number; the acknowledgement has a cookie too.
    fn parts(self) -> (u8, Vec<u8>) {
        let init = |tag: u32| {
            let mut body = tag.to_be_bytes().to_vec();
            body.extend([0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
            body
        };
        let heartbeat = |number: u32| {
            let mut body = vec![0, 1, 0, 8];
            body.extend(number.to_be_bytes());
            body
        };
        match self {
            Self::Init(tag) => (1, init(tag)),
            Self::InitAck(tag) => {
                let mut body = init(tag);
                body.extend([0, 7, 0, 8, b'f', b'l', b'o', b'k']);
                (2, body)
            }
            Self::Heartbeat(number) => (4, heartbeat(number)),
            Self::HeartbeatAck(number) => (5, heartbeat(number)),
            Self::Abort => (6, Vec::new()),
            Self::CookieEcho => (10, b"flok".to_vec()),
            Self::CookieAck => (11, Vec::new()),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.first()? {
            1 => Some(Self::Init(long(bytes, 4)?)),
            2 => Some(Self::InitAck(long(bytes, 4)?)),
            4 => Some(Self::Heartbeat(long(bytes, 8)?)),
            5 => Some(Self::HeartbeatAck(long(bytes, 8)?)),
            6 => Some(Self::Abort),
            10 => Some(Self::CookieEcho),
            11 => Some(Self::CookieAck),
            _ => None,
        }
    }
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c() {
        assert_eq!(CHECKSUM.checksum(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn packets_survive_the_wire() {
        for chunk in [
            Chunk::Init(7),
            Chunk::InitAck(8),
            Chunk::Heartbeat(9),
            Chunk::HeartbeatAck(10),
            Chunk::Abort,
            Chunk::CookieEcho,
            Chunk::CookieAck,
        ] {
            let packet = Packet { source_port: 40000, target_port: 80, tag: 7, chunk };
            let mut bytes = packet.encode();
            assert_eq!(Packet::decode(&bytes), Some(packet));
            bytes[1] ^= 1;
            assert_eq!(Packet::decode(&bytes), None, "a flipped bit");
        }
        assert_eq!(Packet::decode(b"short"), None);
    }
}
