//! What others that enforce NetworkPolicy leave on a node: chains and tables of netfilter, devices, processes, programs
//! of eBPF. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::facts::netlink::{attributes, question, text};

/// Messages of nf_tables, with its subsystem in the upper byte.
const GET_TABLE: u16 = 10 << 8 | 1;
const NEW_TABLE: u16 = 10 << 8;
const GET_CHAIN: u16 = 10 << 8 | 4;
const NEW_CHAIN: u16 = 10 << 8 | 3;
/// Length of `nfgenmsg`.
const NETFILTER: usize = 4;
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;

/// So many tables are remembered.
const TABLES: usize = 256;

/// Something else that enforces NetworkPolicy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Enforcer {
    /// Also within k3s.
    KubeRouter,
    /// Felix; Canal, too.
    Calico,
    /// GKE's dataplane v2, too.
    Cilium,
    /// Also within kindnet.
    KubeNetworkPolicies,
    /// The agent of the AWS VPC CNI.
    AwsNetworkPolicy,
    /// Antrea.
    Antrea,
    /// Weave Net.
    Weave,
    /// Azure's network policy manager.
    AzureNpm,
}

/// How much a trace tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    /// It is, or was, on the node, perhaps for networking only.
    Present,
    /// It enforces, or what it enforced has been left behind.
    Enforces,
}

/// The part of a node that a trace is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TracePlace {
    /// The beginning of a chain's name.
    Chain,
    /// The end of a table's name with its family before it.
    Table,
    /// The beginning of a device's name.
    Device,
    /// The beginning of a process's name, as the kernel has it: 15 bytes.
    Process,
    /// The beginning of a name below `/sys/fs/bpf`.
    Bpf,
}

use Enforcer::{Antrea, AwsNetworkPolicy, AzureNpm, Calico, Cilium, KubeNetworkPolicies, KubeRouter, Weave};
use Strength::{Enforces, Present};
use TracePlace::{Bpf, Chain, Device, Process, Table};

/// What each leaves where, as of their releases of 2023 to 2025.
const TRACES: &[(TracePlace, &str, Enforcer, Strength)] = &[
    (Chain, "KUBE-NWPLCY-", KubeRouter, Enforces),
    (Chain, "KUBE-POD-FW-", KubeRouter, Enforces),
    (Chain, "KUBE-ROUTER-", KubeRouter, Enforces),
    (Process, "kube-router", KubeRouter, Present),
    (Chain, "cali-tw-", Calico, Enforces),
    (Chain, "cali-fw-", Calico, Enforces),
    (Chain, "filter-cali-tw-", Calico, Enforces),
    (Chain, "filter-cali-fw-", Calico, Enforces),
    (Chain, "cali-", Calico, Present),
    (Table, "ip calico", Calico, Enforces),
    (Table, "ip6 calico", Calico, Enforces),
    (Device, "cali", Calico, Present),
    (Process, "calico-node", Calico, Enforces),
    (Bpf, "calico", Calico, Present),
    (Chain, "CILIUM_", Cilium, Present),
    (Device, "cilium_", Cilium, Enforces),
    (Process, "cilium-agent", Cilium, Enforces),
    (Bpf, "cilium", Cilium, Present),
    (Table, "inet kube-network-policies", KubeNetworkPolicies, Enforces),
    (Table, "inet kindnet-network-policies", KubeNetworkPolicies, Enforces),
    (Process, "kube-network-po", KubeNetworkPolicies, Enforces),
    (Process, "aws-eks-na", AwsNetworkPolicy, Enforces),
    (Bpf, "globals/aws", AwsNetworkPolicy, Enforces),
    (Chain, "ANTREA-", Antrea, Present),
    (Device, "antrea-gw", Antrea, Present),
    (Process, "antrea-agent", Antrea, Enforces),
    (Chain, "WEAVE-NPC", Weave, Enforces),
    (Process, "weave-npc", Weave, Enforces),
    (Chain, "AZURE-NPM", AzureNpm, Enforces),
    (Process, "azure-npm", AzureNpm, Enforces),
];

impl Enforcer {
    /// As people call it.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            KubeRouter => "kube-router",
            Calico => "Calico",
            Cilium => "Cilium",
            KubeNetworkPolicies => "kube-network-policies",
            AwsNetworkPolicy => "the AWS network policy agent",
            Antrea => "Antrea",
            Weave => "Weave Net",
            AzureNpm => "Azure NPM",
        }
    }

    /// How it is kept from enforcing NetworkPolicy, or what its rules are removed with.
    #[must_use]
    pub(super) const fn remedy(self) -> &'static str {
        match self {
            KubeRouter => {
                "k3s: --disable-network-policy; kube-router: --run-firewall=false; then `kube-router --cleanup-config` or a reboot removes its chains"
            }
            Calico => {
                "Calico cannot be told not to enforce: keep both, or use a CNI without policies; chains that it left go with a reboot"
            }
            Cilium => {
                "see deploy/README.md: beside Cilium the node has to forward by the kernel (no eBPF host routing); policyEnforcementMode=never switches its policies off"
            }
            KubeNetworkPolicies => {
                "remove the DaemonSet kube-network-policies, or switch the policies of kindnet off (--network-policy=false); then delete its table"
            }
            AwsNetworkPolicy => {
                "set enableNetworkPolicy to \"false\" in the configuration of the VPC CNI add-on"
            }
            Antrea => {
                "pods hang on its Open vSwitch, which these rules do not see: keep Antrea's own policies, or use another CNI"
            }
            Weave => "remove the container weave-npc from the DaemonSet weave-net (EXPECT_NPC=0)",
            AzureNpm => "switch the cluster's network policy to none (az aks update --network-policy none)",
        }
    }
}

/// What was seen of netfilter and devices: no more than what tells something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Netfilter {
    /// Tables with their families before their names.
    pub(super) tables: BTreeSet<String>,
    /// How many chains begin like this, each counted with the longest that fits.
    pub(super) chains: BTreeMap<String, u32>,
}

/// The questions for the names of all tables and of all chains.
pub(super) fn questions() -> [Vec<u8>; 2] {
    [question(GET_TABLE, &[0; NETFILTER]), question(GET_CHAIN, &[0; NETFILTER])]
}

impl Netfilter {
    /// Takes an answer down; what cannot be read is left out.
    pub(super) fn hear(&mut self, kind: u16, body: &[u8]) {
        let find = |wanted| {
            attributes(body, NETFILTER).find(|(kind, _)| *kind == wanted).and_then(|(_, value)| text(value))
        };
        match kind {
            NEW_TABLE if self.tables.len() < TABLES => {
                if let (Some(family), Some(name)) =
                    (body.first().map(|family| name_of(*family)), find(TABLE_NAME))
                {
                    self.tables.insert(format!("{family} {name}"));
                }
            }
            NEW_CHAIN if find(CHAIN_TABLE).is_some() => {
                let Some(name) = find(CHAIN_NAME) else { return };
                if let Some((beginning, ..)) = longest(Chain, &name) {
                    *self.chains.entry(beginning.to_owned()).or_default() += 1;
                }
            }
            _ => {}
        }
    }
}

const fn name_of(family: u8) -> &'static str {
    match family {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "other",
    }
}

/// The longest trace that a name begins with.
fn longest(place: TracePlace, name: &str) -> Option<(&'static str, Enforcer, Strength)> {
    let of_place = TRACES.iter().filter(|(it, beginning, ..)| *it == place && name.starts_with(beginning));
    of_place
        .max_by_key(|(_, beginning, ..)| beginning.len())
        .map(|(_, text, who, strength)| (*text, *who, *strength))
}

/// What was found of one enforcer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Whose it is.
    pub(super) enforcer: Enforcer,
    /// What the strongest trace tells.
    pub(super) strength: Strength,
    /// The traces in words, in order.
    pub(super) words: BTreeSet<String>,
}

/// The enforcers of which there is a trace, in order.
pub(super) fn found(
    netfilter: &Netfilter,
    devices: &BTreeSet<String>,
    processes: &BTreeSet<String>,
    bpf: &BTreeSet<String>,
) -> Vec<Found> {
    let mut all: BTreeMap<Enforcer, (Strength, BTreeSet<String>)> = BTreeMap::new();
    let mut note = |place, name: &str, words: &dyn Fn(&str) -> String| {
        let Some((beginning, enforcer, strength)) = longest(place, name) else { return };
        let entry = all.entry(enforcer).or_insert((strength, BTreeSet::new()));
        entry.0 = entry.0.max(strength);
        entry.1.insert(words(beginning));
    };
    for (beginning, count) in &netfilter.chains {
        note(Chain, beginning, &|_| format!("{count} chains {beginning}…"));
    }
    for table in &netfilter.tables {
        note(Table, table, &|_| format!("table {table}"));
    }
    for device in devices {
        note(Device, device, &|beginning| format!("devices {beginning}…"));
    }
    for process in processes {
        note(Process, process, &|_| format!("process {process}"));
    }
    for path in bpf {
        note(Bpf, path, &|beginning| format!("/sys/fs/bpf/{beginning}…"));
    }
    all.into_iter().map(|(enforcer, (strength, words))| Found { enforcer, strength, words }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::netlink::tests::attribute;

    fn names(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    fn heard(tables: &[(u8, &str)], chains: &[&str]) -> Netfilter {
        let mut netfilter = Netfilter::default();
        for (family, name) in tables {
            let name = attribute(TABLE_NAME, format!("{name}\0").as_bytes());
            netfilter.hear(NEW_TABLE, &[vec![*family, 0, 0, 0], name].concat());
        }
        for name in chains {
            let table = attribute(CHAIN_TABLE, b"filter\0");
            let name = attribute(CHAIN_NAME, format!("{name}\0").as_bytes());
            netfilter.hear(NEW_CHAIN, &[vec![2, 0, 0, 0], table, name].concat());
        }
        netfilter
    }

    fn strengths(found: &[Found]) -> Vec<(&'static str, Strength)> {
        found.iter().map(|it| (it.enforcer.name(), it.strength)).collect()
    }

    #[test]
    fn a_chain_tells_whose_it_is_by_the_longest_beginning() {
        let netfilter = heard(
            &[(2, "filter"), (1, "flock_netpol")],
            &[
                "FORWARD",
                "KUBE-NWPLCY-AAAA",
                "KUBE-NWPLCY-BBBB",
                "KUBE-ROUTER-FORWARD",
                "KUBE-SERVICES",
                "cali-FORWARD",
            ],
        );
        assert_eq!(netfilter.tables, names(&["inet flock_netpol", "ip filter"]));
        assert_eq!(netfilter.chains["KUBE-NWPLCY-"], 2);
        let found = found(&netfilter, &names(&[]), &names(&[]), &names(&[]));
        assert_eq!(strengths(&found), [("kube-router", Enforces), ("Calico", Present)]);
        assert_eq!(found[0].words, names(&["2 chains KUBE-NWPLCY-…", "1 chains KUBE-ROUTER-…"]));
        let netfilter = heard(&[], &["cali-FORWARD", "cali-tw-cali0123"]);
        let found = self::found(&netfilter, &names(&["cali0123"]), &names(&[]), &names(&[]));
        assert_eq!(strengths(&found), [("Calico", Enforces)]);
    }

    #[test]
    fn tables_devices_processes_and_programs_tell_too() {
        let found = found(
            &heard(&[(1, "kube-network-policies")], &[]),
            &names(&["cilium_host", "cilium_net", "eth0"]),
            &names(&["weave-npc", "antrea-agent", "kubelet"]),
            &names(&["globals/aws/programs", "tc"]),
        );
        let expected = [
            ("Cilium", Enforces),
            ("kube-network-policies", Enforces),
            ("the AWS network policy agent", Enforces),
            ("Antrea", Enforces),
            ("Weave Net", Enforces),
        ];
        assert_eq!(strengths(&found), expected);
        assert_eq!(found[0].words, names(&["devices cilium_…"]));
        let own = self::found(
            &heard(&[(1, "flock_netpol"), (7, "flock_netpol")], &["KUBE-PROXY-CANARY", "CNI-FORWARD"]),
            &names(&["cni0", "flannel.1", "lo"]),
            &names(&["kube-proxy", "flanneld"]),
            &names(&[]),
        );
        assert_eq!(own, []);
    }

    #[test]
    fn every_trace_is_found_alone() {
        for (place, beginning, enforcer, strength) in TRACES {
            let name = format!("{beginning}0");
            let none = BTreeSet::new();
            let only = |it: TracePlace| if it == *place { names(&[name.as_str()]) } else { none.clone() };
            let mut netfilter = Netfilter::default();
            if *place == Chain {
                netfilter.chains.insert((*beginning).to_owned(), 1);
            }
            netfilter.tables = only(Table);
            let found = found(&netfilter, &only(Device), &only(Process), &only(Bpf));
            assert_eq!(strengths(&found), [(enforcer.name(), *strength)], "{beginning}");
        }
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        let name = attribute(TABLE_NAME, b"t\0");
        let body = [vec![1, 0, 0, 0], name].concat();
        for length in 0..body.len() - 2 {
            let mut netfilter = Netfilter::default();
            netfilter.hear(NEW_TABLE, &body[..length]);
            netfilter.hear(NEW_CHAIN, &body[..length]);
            assert_eq!(netfilter, Netfilter::default(), "{length}");
        }
    }
}
