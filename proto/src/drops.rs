//! What an agent tells of drops, and what a compiler wants to be told. A node that was taken over says what it likes, so
//! everything has a bound.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::flows::{address, of_address};
use crate::{WireError, v1};

/// How many flows a message has at most. With IPv6 they are less than 52 KB.
pub const DROPS_LIMIT: usize = 768;

/// How long ago a packet was at most; what was earlier counts as then.
pub const AGO_LIMIT: Duration = Duration::from_secs(3600);

/// Packets that policies denied on a node since the last of these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drops {
    flows: Vec<DroppedFlow>,
    /// Packets of which no flow is told.
    pub unlisted: Unlisted,
}

/// Packets of which no flow is told: their flow found no room, or was too much to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unlisted {
    /// Of packets towards isolated pods.
    pub ingress: u64,
    /// Of packets from isolated pods.
    pub egress: u64,
}

/// The direction of a policy that denied a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropDirection {
    /// Towards its destination.
    Ingress,
    /// From its source.
    Egress,
}

/// What tells flows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DropKey {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes, after translation; of the same family.
    pub destination: IpAddr,
    /// The IP protocol.
    pub protocol: u8,
    /// The destination port, after translation; in ICMP 256 times the type, and the code; elsewhere 0.
    pub port: u16,
    /// Whose policies denied it.
    pub direction: DropDirection,
}

/// A flow that was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DroppedFlow {
    /// Which.
    pub key: DropKey,
    /// How many packets; 0: it has just begun, and its packets are counted later.
    pub packets: u64,
    /// How long ago the last of them was when this was said, in whole milliseconds.
    pub ago: Duration,
}

/// What is to be told of drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DropsWanted {
    /// Whether somebody watches: first packets are told at once.
    pub watched: bool,
    /// Changes whenever what has been counted is to be told at once.
    pub reading: u32,
}

impl Drops {
    /// These, of which at most [`DROPS_LIMIT`] are kept.
    #[must_use]
    pub fn new(mut flows: Vec<DroppedFlow>, unlisted: Unlisted) -> Self {
        flows.truncate(DROPS_LIMIT);
        Self { flows, unlisted }
    }

    /// The flows, none twice.
    #[must_use]
    pub fn flows(&self) -> &[DroppedFlow] {
        &self.flows
    }
}

impl From<Drops> for v1::Drops {
    fn from(Drops { flows, unlisted }: Drops) -> Self {
        let flows = flows.into_iter().map(|flow| v1::DroppedFlow {
            source: of_address(flow.key.source),
            destination: of_address(flow.key.destination),
            protocol: flow.key.protocol.into(),
            port: flow.key.port.into(),
            direction: v1::DropDirection::from(flow.key.direction).into(),
            packets: flow.packets,
            // An hour in milliseconds fits into 32 bits.
            ago_millis: u32::try_from(flow.ago.min(AGO_LIMIT).as_millis()).unwrap_or_default(),
        });
        Self { flows: flows.collect(), unlisted_ingress: unlisted.ingress, unlisted_egress: unlisted.egress }
    }
}

impl TryFrom<v1::Drops> for Drops {
    type Error = WireError;

    fn try_from(wire: v1::Drops) -> Result<Self, WireError> {
        let count = wire.flows.len();
        if count > DROPS_LIMIT {
            return Err(WireError::TooMany { field: "drops.flows", count, limit: DROPS_LIMIT });
        }
        let flows = wire.flows.iter().map(flow).collect::<Result<Vec<_>, _>>()?;
        // A flow that is told twice would be counted twice.
        let mut seen = HashSet::with_capacity(count);
        if let Some(place) = flows.iter().position(|flow| !seen.insert(flow.key)) {
            let value = u32::try_from(place).unwrap_or_default();
            return Err(WireError::Number { field: "drops.flows, which has one twice, at", value });
        }
        let unlisted = Unlisted { ingress: wire.unlisted_ingress, egress: wire.unlisted_egress };
        Ok(Self { flows, unlisted })
    }
}

fn flow(wire: &v1::DroppedFlow) -> Result<DroppedFlow, WireError> {
    let source = address("dropped_flow.source", &wire.source)?;
    let destination = address("dropped_flow.destination", &wire.destination)?;
    if source.is_ipv4() != destination.is_ipv4() {
        let length = wire.destination.len();
        return Err(WireError::Address { field: "dropped_flow.destination", length });
    }
    let protocol = u8::try_from(wire.protocol)
        .map_err(|_| WireError::Number { field: "dropped_flow.protocol", value: wire.protocol })?;
    let port = u16::try_from(wire.port)
        .map_err(|_| WireError::Number { field: "dropped_flow.port", value: wire.port })?;
    let direction = match wire.direction() {
        v1::DropDirection::Ingress => DropDirection::Ingress,
        v1::DropDirection::Egress => DropDirection::Egress,
        v1::DropDirection::Unspecified => {
            let value = u32::try_from(wire.direction).unwrap_or(u32::MAX);
            return Err(WireError::Number { field: "dropped_flow.direction", value });
        }
    };
    let key = DropKey { source, destination, protocol, port, direction };
    let ago = Duration::from_millis(wire.ago_millis.into()).min(AGO_LIMIT);
    Ok(DroppedFlow { key, packets: wire.packets, ago })
}

impl From<DropDirection> for v1::DropDirection {
    fn from(direction: DropDirection) -> Self {
        match direction {
            DropDirection::Ingress => Self::Ingress,
            DropDirection::Egress => Self::Egress,
        }
    }
}

impl From<DropsWanted> for v1::DropsWanted {
    fn from(DropsWanted { watched, reading }: DropsWanted) -> Self {
        Self { watched, reading }
    }
}

impl From<v1::DropsWanted> for DropsWanted {
    fn from(v1::DropsWanted { watched, reading }: v1::DropsWanted) -> Self {
        Self { watched, reading }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message as _;

    use super::*;

    fn drops(count: usize) -> Drops {
        let flow = |number: usize| {
            let key = DropKey {
                source: "fd00:10:244:ffff:ffff:ffff:ffff:ffff".parse().unwrap(),
                destination: "fd00:10:244:ffff:ffff:ffff:ffff:fffe".parse().unwrap(),
                protocol: 255,
                port: 65_535 - u16::try_from(number).unwrap(),
                direction: DropDirection::Egress,
            };
            DroppedFlow { key, packets: u64::MAX, ago: AGO_LIMIT }
        };
        Drops::new((0..count).map(flow).collect(), Unlisted { ingress: u64::MAX, egress: 1 })
    }

    #[test]
    fn survives_the_wire() {
        let key = DropKey {
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
            protocol: 1,
            port: 0x0800,
            direction: DropDirection::Ingress,
        };
        let first = DroppedFlow { key, packets: 0, ago: Duration::from_millis(3) };
        let longest = drops(DROPS_LIMIT);
        // The compiler reads messages of at most 64 KiB.
        assert!(v1::Drops::from(longest.clone()).encoded_len() < 52 * 1024);
        for drops in [Drops::default(), longest, Drops::new(vec![first], Unlisted::default())] {
            assert_eq!(Drops::try_from(v1::Drops::from(drops.clone())), Ok(drops));
        }
        let wanted = DropsWanted { watched: true, reading: 7 };
        assert_eq!(DropsWanted::from(v1::DropsWanted::from(wanted)), wanted);
    }

    #[test]
    fn what_is_too_long_ago_or_too_much_is_cut_when_sent() {
        let long_ago = DroppedFlow { ago: Duration::MAX, ..drops(1).flows()[0] };
        let wire = v1::Drops::from(Drops::new(vec![long_ago], Unlisted::default()));
        assert_eq!(u128::from(wire.flows[0].ago_millis), AGO_LIMIT.as_millis());
        let flows = vec![long_ago; DROPS_LIMIT + 5];
        assert_eq!(Drops::new(flows, Unlisted::default()).flows().len(), DROPS_LIMIT);
    }

    #[test]
    fn refusals() {
        let count = DROPS_LIMIT + 1;
        let many = v1::Drops { flows: vec![v1::DroppedFlow::default(); count], ..drops(0).into() };
        let too_many = WireError::TooMany { field: "drops.flows", count, limit: DROPS_LIMIT };
        assert_eq!(Drops::try_from(many), Err(too_many));
        let refused = |edit: fn(&mut v1::DroppedFlow)| {
            let mut wire = v1::Drops::from(drops(1));
            wire.flows.iter_mut().for_each(edit);
            Drops::try_from(wire).unwrap_err()
        };
        let short = refused(|flow| flow.source = Bytes::from_static(&[10, 0, 0]));
        assert_eq!(short, WireError::Address { field: "dropped_flow.source", length: 3 });
        let mixed = refused(|flow| flow.destination = Bytes::from_static(&[10, 0, 0, 1]));
        assert_eq!(mixed, WireError::Address { field: "dropped_flow.destination", length: 4 });
        let protocol = refused(|flow| flow.protocol = 256);
        assert_eq!(protocol, WireError::Number { field: "dropped_flow.protocol", value: 256 });
        let port = refused(|flow| flow.port = 65_536);
        assert_eq!(port, WireError::Number { field: "dropped_flow.port", value: 65_536 });
        let direction = refused(|flow| flow.direction = 0);
        assert_eq!(direction, WireError::Number { field: "dropped_flow.direction", value: 0 });
        assert!(matches!(refused(|flow| flow.direction = 9), WireError::Number { .. }));
        let mut twice = v1::Drops::from(drops(2));
        twice.flows[1] = twice.flows[0].clone();
        assert!(matches!(Drops::try_from(twice), Err(WireError::Number { value: 1, .. })));
    }
}
