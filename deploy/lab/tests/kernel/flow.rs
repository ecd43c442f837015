//! A flow in words that expectations are made of.

use flock_lab::{Family, MatrixCell, Protocol, Verdict, differences};
use std::collections::BTreeMap;

use crate::members::{Member, member};

/// What every member serves.
pub(crate) const SERVED: [(Protocol, u16); 9] = [
    (Protocol::Tcp, 80),
    (Protocol::Tcp, 81),
    (Protocol::Tcp, 82),
    (Protocol::Tcp, 8080),
    (Protocol::Udp, 80),
    (Protocol::Udp, 81),
    (Protocol::Sctp, 80),
    (Protocol::Sctp, 8080),
    (Protocol::IcmpEcho, 0),
];

/// What most tests try.
pub(crate) const SERVICES: [(Protocol, u16); 5] = [
    (Protocol::Tcp, 80),
    (Protocol::Tcp, 8080),
    (Protocol::Udp, 80),
    (Protocol::Sctp, 80),
    (Protocol::IcmpEcho, 0),
];

/// Who asks whom for what.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) from: &'static Member,
    pub(crate) to: &'static Member,
    pub(crate) family: Family,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

impl Flow {
    fn of(cell: &MatrixCell) -> Self {
        Self {
            from: member(&cell.from),
            to: member(&cell.to),
            family: cell.family(),
            protocol: cell.protocol,
            port: cell.port,
        }
    }

    pub(crate) fn is_from(&self, names: &[&str]) -> bool {
        names.contains(&self.from.name)
    }

    pub(crate) fn is_to(&self, names: &[&str]) -> bool {
        names.contains(&self.to.name)
    }

    /// To this port of this protocol.
    pub(crate) fn at(&self, protocol: Protocol, port: u16) -> bool {
        (self.protocol, self.port) == (protocol, port)
    }

    pub(crate) fn is_v4(&self) -> bool {
        self.family == Family::V4
    }

    pub(crate) fn is_v6(&self) -> bool {
        self.family == Family::V6
    }
}

/// Where measured verdicts differ from what `allowed` says. A pod always reaches itself.
pub(crate) fn wrong(
    measured: &BTreeMap<MatrixCell, Verdict>,
    allowed: impl Fn(&Flow) -> bool,
) -> Vec<String> {
    differences(measured, |cell| {
        let flow = Flow::of(cell);
        if flow.from.name == flow.to.name || allowed(&flow) { Verdict::Reached } else { Verdict::Dropped }
    })
}
