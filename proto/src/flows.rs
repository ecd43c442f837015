//! What an agent asks about connections that are tracked.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use flock_shared::Revision;

use crate::{WireError, text, v1};

/// How many flows a question has at most. With IPv6 they are less than 48 KB.
pub const FLOWS_LIMIT: usize = 1024;

/// An agent looks at the connections of an address once more this long after it was told to for the first time. Replies that
/// only another node can cut begin what that has not forgotten anew: by now it has.
pub const LAST_LOOK: Duration = Duration::from_secs(3);

/// A question of an agent: which of these are not allowed? Without any: which addresses are to be looked at?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flows {
    /// The revision that stands in the kernel.
    pub revision: Revision,
    /// Says which answer belongs to it.
    pub number: u64,
    /// At most [`FLOWS_LIMIT`].
    pub flows: Vec<Flow>,
}

/// A connection in its first direction, as the table sees its first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes, after translation; of the same family.
    pub destination: IpAddr,
    /// The IP protocol.
    pub protocol: u8,
    /// The destination port, after translation; in ICMP the type, elsewhere 0.
    pub port: u16,
    /// What of it other nodes see differently.
    pub translated: Translated,
}

/// What of a connection is translated on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Translated {
    /// The source: the node of the destination sees another one.
    pub source: bool,
    /// The destination: the node of the source has seen another one.
    pub destination: bool,
}

impl From<Flows> for v1::Flows {
    fn from(Flows { revision, number, flows }: Flows) -> Self {
        let flows = flows.into_iter().map(|flow| v1::Flow {
            source: of_address(flow.source),
            destination: of_address(flow.destination),
            protocol: flow.protocol.into(),
            port: flow.port.into(),
            source_translated: flow.translated.source,
            destination_translated: flow.translated.destination,
        });
        Self { revision: revision.to_string(), number, flows: flows.collect() }
    }
}

impl TryFrom<v1::Flows> for Flows {
    type Error = WireError;

    fn try_from(wire: v1::Flows) -> Result<Self, WireError> {
        let revision = text::revision("flows.revision", &wire.revision)?;
        let count = wire.flows.len();
        if count > FLOWS_LIMIT {
            return Err(WireError::TooMany { field: "flows.flows", count, limit: FLOWS_LIMIT });
        }
        let flows = wire.flows.iter().map(flow).collect::<Result<_, _>>()?;
        Ok(Self { revision, number: wire.number, flows })
    }
}

fn flow(wire: &v1::Flow) -> Result<Flow, WireError> {
    let source = address("flow.source", &wire.source)?;
    let destination = address("flow.destination", &wire.destination)?;
    if source.is_ipv4() != destination.is_ipv4() {
        return Err(WireError::Address { field: "flow.destination", length: wire.destination.len() });
    }
    let protocol = u8::try_from(wire.protocol)
        .map_err(|_| WireError::Number { field: "flow.protocol", value: wire.protocol })?;
    let port =
        u16::try_from(wire.port).map_err(|_| WireError::Number { field: "flow.port", value: wire.port })?;
    let translated = Translated { source: wire.source_translated, destination: wire.destination_translated };
    Ok(Flow { source, destination, protocol, port, translated })
}

/// An address as its bytes.
pub(crate) fn of_address(address: IpAddr) -> Bytes {
    match address {
        IpAddr::V4(address) => Bytes::copy_from_slice(&address.octets()),
        IpAddr::V6(address) => Bytes::copy_from_slice(&address.octets()),
    }
}

/// The address that bytes are.
pub(crate) fn address(field: &'static str, bytes: &[u8]) -> Result<IpAddr, WireError> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| v6()).map_err(|_| WireError::Address { field, length: bytes.len() })
}

#[cfg(test)]
mod tests {
    use flock_shared::ScriptHash;
    use prost::Message as _;

    use super::*;

    fn flows(count: usize) -> Flows {
        let source = "fd00:10:244:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        let translated = Translated { source: true, destination: true };
        let flow = Flow { source, destination: source, protocol: 255, port: 65_535, translated };
        Flows { revision: Revision::of(ScriptHash::of(b"")), number: u64::MAX, flows: vec![flow; count] }
    }

    #[test]
    fn survives_the_wire() {
        let v4 = Flow {
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
            protocol: 17,
            port: 53,
            translated: Translated::default(),
        };
        let mut longest = flows(FLOWS_LIMIT - 1);
        longest.flows.push(v4);
        // The compiler reads messages of at most 64 KiB.
        assert!(v1::Flows::from(longest.clone()).encoded_len() < 56 * 1024);
        for flows in [flows(0), longest] {
            assert_eq!(Flows::try_from(v1::Flows::from(flows.clone())), Ok(flows));
        }
    }

    #[test]
    fn refusals() {
        let many = v1::Flows { flows: vec![v1::Flow::default(); FLOWS_LIMIT + 1], ..flows(0).into() };
        let count = FLOWS_LIMIT + 1;
        let too_many = WireError::TooMany { field: "flows.flows", count, limit: FLOWS_LIMIT };
        assert_eq!(Flows::try_from(many), Err(too_many));
        let refused = |edit: fn(&mut v1::Flow)| {
            let mut wire = v1::Flows::from(flows(1));
            wire.flows.iter_mut().for_each(edit);
            Flows::try_from(wire).unwrap_err()
        };
        let short = refused(|flow| flow.source = Bytes::from_static(&[10, 0, 0]));
        assert_eq!(short, WireError::Address { field: "flow.source", length: 3 });
        let mixed = refused(|flow| flow.destination = Bytes::from_static(&[10, 0, 0, 1]));
        assert_eq!(mixed, WireError::Address { field: "flow.destination", length: 4 });
        let protocol = refused(|flow| flow.protocol = 256);
        assert_eq!(protocol, WireError::Number { field: "flow.protocol", value: 256 });
        let port = refused(|flow| flow.port = 65_536);
        assert_eq!(port, WireError::Number { field: "flow.port", value: 65_536 });
        let revision = v1::Flows { revision: "x".into(), ..flows(0).into() };
        assert!(matches!(Flows::try_from(revision), Err(WireError::Revision { .. })));
    }
}
