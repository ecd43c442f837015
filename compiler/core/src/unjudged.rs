//! Unjudged: why what passes between pods of a node is not, or not wholly, judged, although its table stands.

use std::collections::BTreeSet;
use std::fmt;

use flock_shared::listed;

use crate::object::{BridgeNf, Facts, InterfaceName};

/// A way past the rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unjudged {
    /// Pods hang on bridges whose frames the rules of a family do not see.
    Bridge {
        /// The bridges.
        bridges: Vec<InterfaceName>,
        /// The setting that would show them.
        setting: &'static str,
        /// Whether there is no such setting.
        is_absent: bool,
    },
    /// IPVS has services, and delivers through the node's own sockets.
    Ipvs,
    /// Flowtables take established flows past the forward hook.
    Flowtables(Vec<String>),
    /// Pods hang on netkit devices, whose packets eBPF programs carry past the forward hook.
    Netkit,
    /// Pods hang on an Open vSwitch, which hands packets on past the forward hook.
    OpenVswitch,
    /// What pods send is taken at their links, and does not come into the kernel's IP.
    Bypassed,
    /// nft or the kernel refuses what rules need.
    Refused(String),
}

impl Unjudged {
    /// All reasons, in order.
    pub const REASONS: [&'static str; 7] =
        ["bridge_nf", "ipvs", "flowtable", "netkit", "openvswitch", "bypassed", "refused"];

    /// The reason in one word, for labels of metrics: one of [`Self::REASONS`].
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        let [bridge, ipvs, flowtable, netkit, openvswitch, bypassed, refused] = Self::REASONS;
        match self {
            Self::Bridge { .. } => bridge,
            Self::Ipvs => ipvs,
            Self::Flowtables(_) => flowtable,
            Self::Netkit => netkit,
            Self::OpenVswitch => openvswitch,
            Self::Bypassed => bypassed,
            Self::Refused(_) => refused,
        }
    }
}

impl Facts {
    /// Why what passes on the node is not judged, where pods hang on these of its bridges. Empty if it is.
    #[must_use]
    pub fn unjudged(&self, pod_bridges: &BTreeSet<InterfaceName>) -> Vec<Unjudged> {
        let settings = [
            ("net.bridge.bridge-nf-call-iptables", self.bridge_nf_v4),
            ("net.bridge.bridge-nf-call-ip6tables", self.bridge_nf_v6),
        ];
        // Both families, whatever families pods have addresses of: who is on a bridge can give himself one.
        let bridges = settings.into_iter().filter(|(_, value)| *value != BridgeNf::On);
        let mut found: Vec<Unjudged> = bridges
            .filter(|_| !pod_bridges.is_empty())
            .map(|(setting, value)| Unjudged::Bridge {
                bridges: pod_bridges.iter().cloned().collect(),
                setting,
                is_absent: value == BridgeNf::Absent,
            })
            .collect();
        found.extend(self.ipvs.then_some(Unjudged::Ipvs));
        let flowtables: Vec<String> = self.flowtables.iter().cloned().collect();
        found.extend((!flowtables.is_empty()).then_some(Unjudged::Flowtables(flowtables)));
        found.extend(self.netkit.then_some(Unjudged::Netkit));
        found.extend(self.openvswitch.then_some(Unjudged::OpenVswitch));
        found.extend(self.bypassed.then_some(Unjudged::Bypassed));
        found.extend(self.refused.iter().cloned().map(Unjudged::Refused));
        found
    }
}

impl fmt::Display for Unjudged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge { bridges, setting, is_absent } => {
                let state = if *is_absent { "is absent (br_netfilter is not loaded)" } else { "is 0" };
                write!(f, "pods hang on bridge {}, and {setting} {state}", listed(bridges))
            }
            Self::Ipvs => f.write_str("IPVS delivers to services through the node's own sockets"),
            Self::Flowtables(names) => {
                write!(f, "established flows go past the rules by flowtable {}", listed(names))
            }
            Self::Netkit => f.write_str("eBPF programs carry the packets of netkit devices past the rules"),
            Self::OpenVswitch => {
                f.write_str("Open vSwitch hands packets of its ports on by its own rules, past these")
            }
            Self::Bypassed => f.write_str(
                "pods talk, and the rules meet next to nothing of it: something takes it at the pods' links (eBPF programs, a table of family netdev)",
            ),
            Self::Refused(said) => write!(f, "nft refuses what rules need: {said}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use flock_shared::NodeName;

    use super::*;

    fn facts() -> Facts {
        Facts::nothing_of(NodeName::new("n1").unwrap())
    }

    fn told(facts: &Facts, bridges: &[&str]) -> Vec<(&'static str, String)> {
        let bridges = bridges.iter().map(|name| name.parse().unwrap()).collect();
        facts.unjudged(&bridges).iter().map(|why| (why.reason(), why.to_string())).collect()
    }

    #[test]
    fn bridges_are_judged_where_both_families_are_shown() {
        let with = |v4, v6| Facts { bridge_nf_v4: v4, bridge_nf_v6: v6, ..facts() };
        assert_eq!(told(&with(BridgeNf::On, BridgeNf::On), &["cni0"]), []);
        assert_eq!(told(&facts(), &[]), [], "without bridges of pods it is nobody's business");
        let off =
            ("bridge_nf", "pods hang on bridge cni0, and net.bridge.bridge-nf-call-iptables is 0".to_owned());
        assert_eq!(told(&with(BridgeNf::Off, BridgeNf::On), &["cni0"]), [off]);
        let absent = "pods hang on bridge cbr0, cni0, and net.bridge.bridge-nf-call-ip6tables is absent (br_netfilter is not loaded)";
        assert_eq!(
            told(&with(BridgeNf::On, BridgeNf::Absent), &["cni0", "cbr0"]),
            [("bridge_nf", absent.to_owned())]
        );
        assert_eq!(told(&facts(), &["cni0"]).len(), 2);
    }

    #[test]
    fn each_way_past_the_rules_has_its_reason() {
        let flowtables = (1..=6).map(|n| format!("inet f{n}")).collect();
        let refused = vec!["Error: syntax error".to_owned()];
        let all = Facts {
            ipvs: true,
            flowtables,
            netkit: true,
            openvswitch: true,
            bypassed: true,
            refused,
            ..facts()
        };
        let told = told(&all, &["cni0"]);
        let mut reasons: Vec<_> = told.iter().map(|(reason, _)| *reason).collect();
        reasons.dedup();
        assert_eq!(reasons, Unjudged::REASONS);
        assert!(
            told[3].1.ends_with("by flowtable inet f1, inet f2, inet f3, inet f4 and 2 more"),
            "{told:?}"
        );
        assert!(told[7].1.ends_with("refuses what rules need: Error: syntax error"), "{told:?}");
    }
}
