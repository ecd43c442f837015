//! Matrices: every source to every target, over every service, and how that differs from what is expected.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::error::Result;
use crate::node::Family;
use crate::pod::Pod;
use crate::probe::{Probe, Protocol, Verdict, probe_all};

/// One cell: who asks whom, at which of the target's addresses, for what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatrixCell {
    /// The source's name within the lab.
    pub from: String,
    /// The target's name within the lab.
    pub to: String,
    /// The target's address.
    pub address: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The target's port; ignored for ICMP.
    pub port: u16,
}

impl MatrixCell {
    /// The family of the flow.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.address)
    }
}

impl fmt::Display for MatrixCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} ({}) {}/{}", self.from, self.to, self.address, self.protocol, self.port)
    }
}

/// Probes with names.
#[derive(Debug, Clone, Default)]
pub struct Matrix {
    probes: BTreeMap<MatrixCell, Probe>,
}

impl Matrix {
    /// Every source to every address of every target (itself included, if it is among them) over every service.
    /// Families that a source has no address of are left out.
    #[must_use]
    pub fn between(sources: &[Pod], targets: &[Pod], services: &[(Protocol, u16)]) -> Self {
        let mut matrix = Self::default();
        for source in sources {
            for target in targets {
                for address in target.addresses() {
                    // Without an address of the family nothing leaves the pod, whatever policies say.
                    if source.address(Family::of(address)).is_none() {
                        continue;
                    }
                    for &(protocol, port) in services {
                        matrix.add(target.name(), Probe::new(source, protocol, address, port));
                    }
                }
            }
        }
        matrix
    }

    /// Adds one probe; `to` names its target.
    pub fn add(&mut self, to: &str, probe: Probe) {
        let cell = MatrixCell {
            from: probe.from.name().to_owned(),
            to: to.to_owned(),
            address: probe.to.ip(),
            protocol: probe.protocol,
            port: probe.to.port(),
        };
        self.probes.insert(cell, probe);
    }

    /// Measures every cell, all in parallel.
    ///
    /// # Errors
    /// When a probe cannot be sent at all.
    pub fn run(&self) -> Result<BTreeMap<MatrixCell, Verdict>> {
        let probes: Vec<_> = self.probes.values().cloned().collect();
        Ok(self.probes.keys().cloned().zip(probe_all(&probes)?).collect())
    }
}

/// One line for each cell whose verdict is not the expected one; empty when all agree.
#[must_use]
pub fn differences(
    measured: &BTreeMap<MatrixCell, Verdict>,
    expected: impl Fn(&MatrixCell) -> Verdict,
) -> Vec<String> {
    let wrong = measured.iter().map(|(cell, &found)| (cell, found, expected(cell)));
    wrong
        .filter(|(_, found, expected)| found != expected)
        .map(|(cell, found, expected)| format!("{cell}: {found}, expected {expected}"))
        .collect()
}
