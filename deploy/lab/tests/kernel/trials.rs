//! Single probes with what is expected of each, for flows that are not from member to member; all run at once.

use flock_lab::{Namespace, Pod, Probe, Protocol, Verdict, probe_all};

use crate::cluster::told;
use crate::flow::SERVICES;

/// Probes and what is expected of them.
#[derive(Default)]
pub(crate) struct Trials(Vec<(&'static str, Probe, Verdict)>);

impl Trials {
    /// These are reached.
    pub(crate) fn reached(mut self, what: &'static str, probes: impl IntoIterator<Item = Probe>) -> Self {
        let all = probes.into_iter().map(|probe| (what, probe, Verdict::Reached));
        self.0.extend(all);
        self
    }

    /// These are dropped.
    pub(crate) fn dropped(mut self, what: &'static str, probes: impl IntoIterator<Item = Probe>) -> Self {
        let all = probes.into_iter().map(|probe| (what, probe, Verdict::Dropped));
        self.0.extend(all);
        self
    }

    /// Runs them; fails with all that differ.
    pub(crate) fn check(self) {
        let probes: Vec<Probe> = self.0.iter().map(|(_, probe, _)| probe.clone()).collect();
        let found = probe_all(&probes).unwrap();
        let wrong: Vec<String> = self
            .0
            .iter()
            .zip(found)
            .filter(|((_, _, expected), found)| expected != found)
            .map(|((what, probe, _), found)| format!("{what}: {probe} was {found}"))
            .collect();
        told(probes.len(), wrong.len());
        assert_eq!(wrong, Vec::<String>::new());
    }
}

/// From `from` to every address of `to`, over all usual services.
pub(crate) fn to_pod(from: &Namespace, to: &Pod) -> Vec<Probe> {
    to_pod_at(from, to, &SERVICES)
}

/// From `from` to every address of `to`, over these services.
pub(crate) fn to_pod_at(from: &Namespace, to: &Pod, services: &[(Protocol, u16)]) -> Vec<Probe> {
    let each = |address| {
        let probe = move |&(protocol, port)| Probe::new(from, protocol, address, port);
        services.iter().map(probe)
    };
    to.addresses().into_iter().flat_map(each).collect()
}
