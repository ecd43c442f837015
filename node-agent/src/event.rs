//! What the kernel tells of changes to nf_tables: netlink datagrams, taken apart as far as the agent needs it.
//!
//! A transaction is told as the objects that it made and removed, each of which names its table, and then as the
//! generation of rules that it ended in. Pure.

use flock_shared::tables;

/// Header of every netlink message: length, type, flags, sequence, port.
const HEADER: usize = 16;
/// What follows it in messages of netfilter: family, version, resource.
const FAMILY: usize = 4;
/// Header of an attribute: length and type.
const ATTRIBUTE: usize = 4;

/// The subsystem of netfilter, in the upper byte of a message's type.
const NFTABLES: u16 = 10;
/// `NFT_MSG_NEWTABLE` and `NFT_MSG_DELTABLE`.
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
/// `NFT_MSG_NEWGEN` and `NFT_MSG_GETGEN`.
const NEW_GENERATION: u16 = 15;
const GET_GENERATION: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
/// `NFPROTO_INET` and `NFPROTO_BRIDGE`, by nft's names.
const FAMILIES: [(&str, u8); 2] = [("inet", 1), ("bridge", 7)];
/// The first attribute of every object is its table, that of a generation its number; the upper bits are flags.
const FIRST: u16 = 1;
const ATTRIBUTE_TYPE: u16 = 0x3fff;

/// A table that judges, by its place in [`tables::JUDGING`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgingTable(pub usize);

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetlinkEvent {
    /// An object of a table that is ours came, went or changed.
    Ours,
    /// A table that judges was made.
    Made(JudgingTable),
    /// A table that judges is gone.
    Gone(JudgingTable),
    /// The transaction is told; this is the number of the generation that it made.
    Generation {
        /// Its number.
        number: u32,
        /// The port of the socket whose request it is the answer to.
        port: u32,
    },
    /// Something about another table.
    Others,
    /// This is no message, nor is what follows.
    Garbled,
}

/// The messages of a datagram, in order.
pub fn events(datagram: &[u8]) -> impl Iterator<Item = NetlinkEvent> + '_ {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((event, length)) = first(rest) else {
            rest = &[];
            return Some(NetlinkEvent::Garbled);
        };
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(event)
    })
}

/// The question for the number of the present generation.
#[must_use]
pub fn question() -> Vec<u8> {
    let length = u32::try_from(HEADER + FAMILY).unwrap_or_default();
    let kind = NFTABLES << 8 | GET_GENERATION;
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.resize(HEADER + FAMILY, 0);
    message
}

/// The first message, and its length.
fn first(bytes: &[u8]) -> Option<(NetlinkEvent, usize)> {
    let length = usize::try_from(u32::from_ne_bytes(array(bytes, 0)?)).ok()?;
    let message = bytes.get(..length).filter(|message| message.len() >= HEADER)?;
    let kind = u16::from_ne_bytes(array(message, 4)?);
    if kind >> 8 != NFTABLES {
        // An error is one, which answers nothing.
        return Some((NetlinkEvent::Others, length));
    }
    let family = *message.get(HEADER)?;
    let value = first_attribute(message.get(HEADER + FAMILY..)?)?;
    let event = if kind & 0xff == NEW_GENERATION {
        // Attributes of nf_tables are in network order, unlike headers.
        let number = u32::from_be_bytes(array(value, 0)?);
        NetlinkEvent::Generation { number, port: u32::from_ne_bytes(array(message, 12)?) }
    } else {
        let judging = place(&tables::JUDGING, family, value).map(JudgingTable);
        match (kind & 0xff, judging) {
            (NEW_TABLE, Some(table)) => NetlinkEvent::Made(table),
            (DELETE_TABLE, Some(table)) => NetlinkEvent::Gone(table),
            _ if place(&tables::ALL, family, value).is_some() => NetlinkEvent::Ours,
            _ => NetlinkEvent::Others,
        }
    };
    Some((event, length))
}

/// The value of the attribute that the message is about.
fn first_attribute(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(array(rest, 0)?));
        let kind = u16::from_ne_bytes(array(rest, 2)?) & ATTRIBUTE_TYPE;
        let value = rest.get(ATTRIBUTE..length)?;
        if kind == FIRST {
            return Some(value);
        }
        rest = rest.get(aligned(length)..)?;
    }
}

/// Where a table is among some.
fn place(tables: &[&str], family: u8, name: &[u8]) -> Option<usize> {
    let name = name.strip_suffix(b"\0").unwrap_or(name);
    let is_it = |table: &&str| {
        let (of, own) = table.split_once(' ').unwrap_or_default();
        own.as_bytes() == name && FAMILIES.iter().any(|(word, number)| *word == of && *number == family)
    };
    tables.iter().position(is_it)
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const INET: u8 = 1;
    const BRIDGE: u8 = 7;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn message(kind: u16, family: u8, port: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
        let body = attributes.concat();
        let length = u32::try_from(HEADER + FAMILY + body.len()).unwrap();
        let head = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 6], &port.to_ne_bytes()].concat();
        [head, vec![family, 0, 0, 0], body].concat()
    }

    /// A rule, an element or whatever else of a table.
    pub(crate) fn object(family: u8, table: &str) -> Vec<u8> {
        let name = format!("{table}\0");
        message(NFTABLES << 8 | 12, family, 7, &[attribute(9, b"x"), attribute(FIRST, name.as_bytes())])
    }

    /// A table that is made, or gone.
    pub(crate) fn table(family: u8, name: &str, is_gone: bool) -> Vec<u8> {
        let kind = if is_gone { DELETE_TABLE } else { NEW_TABLE };
        message(NFTABLES << 8 | kind, family, 7, &[attribute(FIRST, format!("{name}\0").as_bytes())])
    }

    pub(crate) fn generation(number: u32, port: u32) -> Vec<u8> {
        message(NFTABLES << 8 | NEW_GENERATION, 0, port, &[attribute(FIRST, &number.to_be_bytes())])
    }

    fn told(datagram: &[u8]) -> Vec<NetlinkEvent> {
        events(datagram).collect()
    }

    #[test]
    fn a_message_names_a_table_or_a_generation() {
        let datagram = [
            object(INET, "flock_netpol"),
            object(2, "flock_netpol"),
            object(INET, "flock_netpol2"),
            object(INET, "flock"),
            object(INET, "flock_netpol_next"),
            object(BRIDGE, "flock_netpol"),
            object(BRIDGE, "flock_netpol2"),
            generation(70_000, 9),
            message(2, 0, 9, &[]),
        ]
        .concat();
        let generation = NetlinkEvent::Generation { number: 70_000, port: 9 };
        let (ours, others) = (NetlinkEvent::Ours, NetlinkEvent::Others);
        let expected = [ours, others, others, others, ours, ours, others, generation, others];
        assert_eq!(told(&datagram), expected);
        assert_eq!(told(b""), []);
        let datagram = [
            table(INET, "flock_netpol", true),
            table(BRIDGE, "flock_netpol", false),
            table(INET, "flock_netpol_next", true),
            table(INET, "kube-proxy", true),
        ];
        let expected =
            [NetlinkEvent::Gone(JudgingTable(0)), NetlinkEvent::Made(JudgingTable(1)), ours, others];
        assert_eq!(told(&datagram.concat()), expected);
    }

    #[test]
    fn what_is_cut_off_or_says_a_wrong_length_is_garbled() {
        let whole = object(INET, "flock_netpol");
        for length in 1..whole.len() {
            assert_eq!(told(&whole[..length]), [NetlinkEvent::Garbled], "{length} bytes");
        }
        let mut endless = whole.clone();
        endless[..4].copy_from_slice(&0u32.to_ne_bytes());
        assert_eq!(told(&endless), [NetlinkEvent::Garbled]);
        let nameless = message(NFTABLES << 8 | 12, INET, 7, &[attribute(2, b"x")]);
        assert_eq!(told(&[whole, nameless].concat()), [NetlinkEvent::Ours, NetlinkEvent::Garbled]);
    }

    #[test]
    fn the_question_is_a_message_of_netfilter() {
        assert_eq!(question().len(), 20);
        assert_eq!(question()[..4], 20u32.to_ne_bytes());
    }
}
