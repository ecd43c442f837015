//! Who else enforces NetworkPolicy in a cluster, and which CNI it has, by DaemonSets. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::DaemonSet;

/// A DaemonSet as far as it tells something: names of itself and its containers, and their arguments and environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Workload {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) containers: Vec<String>,
    /// Commands, arguments and `NAME=value` of the environment.
    pub(crate) words: Vec<String>,
}

impl From<&DaemonSet> for Workload {
    fn from(set: &DaemonSet) -> Self {
        let spec = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
        let words = containers.iter().flat_map(|container| {
            let given = container.command.iter().chain(&container.args).flatten().cloned();
            let environment = container.env.iter().flatten();
            given.chain(
                environment.map(|it| format!("{}={}", it.name, it.value.as_deref().unwrap_or_default())),
            )
        });
        Self {
            namespace: set.metadata.namespace.clone().unwrap_or_default(),
            name: set.metadata.name.clone().unwrap_or_default(),
            containers: containers.iter().map(|container| container.name.clone()).collect(),
            words: words.collect(),
        }
    }
}

impl Workload {
    fn is(&self, names: &[&str]) -> bool {
        // Manifests of several architectures append to names, such as `kube-flannel-ds-amd64`.
        names.iter().any(|name| self.name == *name || self.name.starts_with(&format!("{name}-")))
    }

    fn says(&self, words: &[&str]) -> bool {
        words.iter().any(|wanted| self.words.iter().any(|word| word.trim() == *wanted))
    }

    fn has(&self, containers: &[&str]) -> bool {
        containers.iter().any(|wanted| self.containers.iter().any(|name| name == wanted))
    }

    /// Who enforces by it; `None`: nobody. What to do about it comes second.
    pub(crate) fn enforcer(&self) -> Option<(&'static str, &'static str)> {
        const KEEP: &str = "a connection passes only if both let it: keep one of them";
        Some(match () {
            () if self.is(&["calico-node", "canal"]) => {
                ("Calico", "Calico cannot be told not to enforce: a connection passes only if both let it")
            }
            () if self.is(&["cilium", "anetd"]) && !self.says(&["--enable-policy=never"]) => (
                "Cilium",
                "policyEnforcementMode=never switches its policies off; with eBPF host routing, packets pass these rules by",
            ),
            () if self.is(&["kube-router"]) && !self.says(&["--run-firewall=false"]) => {
                ("kube-router", "--run-firewall=false")
            }
            // A container of `aws-node`, which is there whether or not anything is enforced.
            () if self.has(&["aws-eks-nodeagent"]) && !self.says(&["--enable-network-policy=false"]) => (
                "the AWS network policy agent",
                "enableNetworkPolicy: \"false\" in the configuration of the VPC CNI add-on",
            ),
            () if self.is(&["kube-network-policies"]) => ("kube-network-policies", "remove its DaemonSet"),
            () if self.is(&["kindnet"]) && !self.says(&["--network-policy=false"]) => (
                "kindnet (from 2024 on)",
                "its newer releases have kube-network-policies within: --network-policy=false where it is known",
            ),
            () if self.is(&["antrea-agent"]) => ("Antrea", KEEP),
            () if self.is(&["ovnkube-node"]) => ("OVN-Kubernetes", KEEP),
            () if self.has(&["weave-npc"]) => ("Weave Net", "remove the container weave-npc (EXPECT_NPC=0)"),
            () if self.is(&["azure-npm"]) => ("Azure NPM", "az aks update --network-policy none"),
            () => return None,
        })
    }

    /// The CNI that it brings, and what to set for it.
    fn network(&self) -> Option<(&'static str, &'static str)> {
        Some(match () {
            () if self.is(&["kube-flannel-ds", "kube-flannel", "flannel"]) => {
                ("flannel", "pods on bridges: net.bridge.bridge-nf-call-* as 1")
            }
            () if self.is(&["calico-node"]) => (
                "Calico",
                "--host-iface sha1:cali, --unready-pods allow where its pools are not the nodes' pod CIDRs",
            ),
            () if self.is(&["canal"]) => ("Canal", "--host-iface sha1:cali"),
            () if self.is(&["cilium", "anetd"]) => {
                ("Cilium", "--unready-pods allow, unless its IPAM is of the nodes' pod CIDRs")
            }
            () if self.is(&["aws-node"]) => ("AWS VPC", "--host-iface sha1:eni"),
            () if self.is(&["azure-cns"]) => ("Azure", "--host-iface sha1:azv"),
            () if self.is(&["kindnet"]) => ("kindnet", "nothing to set"),
            () if self.is(&["antrea-agent"]) => ("Antrea", "its Open vSwitch passes these rules by"),
            () if self.is(&["ovnkube-node"]) => ("OVN-Kubernetes", "its Open vSwitch passes these rules by"),
            () if self.is(&["weave-net"]) => {
                ("Weave Net", "pods on a bridge: net.bridge.bridge-nf-call-* as 1")
            }
            () if self.is(&["kube-router"]) => {
                ("kube-router", "pods on bridge kube-bridge: net.bridge.bridge-nf-call-* as 1")
            }
            () => return None,
        })
    }
}

/// The networks of a cluster with what to set for each; without any, and with k3s, it is k3s' own flannel.
pub(crate) fn networks(workloads: &[Workload], is_k3s: bool) -> BTreeSet<(&'static str, &'static str)> {
    let mut all: BTreeSet<_> = workloads.iter().filter_map(Workload::network).collect();
    if all.is_empty() && is_k3s {
        all.insert(("flannel within k3s", "pods on bridge cni0: net.bridge.bridge-nf-call-* as 1; other paths of CNI (node-agent/cni/README.md)"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, containers: &[&str], words: &[&str]) -> Workload {
        let owned = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        Workload {
            namespace: "kube-system".into(),
            name: name.into(),
            containers: owned(containers),
            words: owned(words),
        }
    }

    #[test]
    fn daemon_sets_tell_who_enforces() {
        for (workload, expected) in [
            (set("calico-node", &["calico-node"], &[]), Some("Calico")),
            (set("canal", &["calico-node", "kube-flannel"], &[]), Some("Calico")),
            (set("cilium", &["cilium-agent"], &[]), Some("Cilium")),
            (set("cilium", &["cilium-agent"], &["--enable-policy=never"]), None),
            (set("anetd", &["cilium-agent"], &[]), Some("Cilium")),
            (set("kube-router", &["kube-router"], &["--run-router=true"]), Some("kube-router")),
            (set("kube-router", &["kube-router"], &["--run-firewall=false"]), None),
            (set("aws-node", &["aws-node"], &[]), None),
            (set("aws-node", &["aws-node", "aws-eks-nodeagent"], &["--enable-network-policy=false"]), None),
            (
                set("aws-node", &["aws-node", "aws-eks-nodeagent"], &["--enable-network-policy=true"]),
                Some("the AWS network policy agent"),
            ),
            (set("kindnet", &["kindnet-cni"], &[]), Some("kindnet (from 2024 on)")),
            (set("antrea-agent", &["antrea-agent"], &[]), Some("Antrea")),
            (set("weave-net", &["weave", "weave-npc"], &[]), Some("Weave Net")),
            (set("weave-net", &["weave"], &[]), None),
            (set("kube-network-policies", &["x"], &[]), Some("kube-network-policies")),
            (set("kube-flannel-ds", &["kube-flannel"], &[]), None),
            (set("kube-proxy", &["kube-proxy"], &[]), None),
            (set("flock-node-agent", &["agent"], &[]), None),
        ] {
            assert_eq!(workload.enforcer().map(|(who, _)| who), expected, "{workload:?}");
        }
    }

    #[test]
    fn daemon_sets_tell_the_network() {
        let names =
            |all: &[Workload], k3s| networks(all, k3s).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let flannel = set("kube-flannel-ds", &["kube-flannel"], &[]);
        assert_eq!(names(&[flannel.clone(), set("calico-node", &[], &[])], false), ["Calico", "flannel"]);
        assert_eq!(names(&[], true), ["flannel within k3s"]);
        assert_eq!(names(&[flannel], true), ["flannel"]);
        assert_eq!(names(&[set("kube-proxy", &[], &[])], false), [""; 0]);
    }

    #[test]
    fn a_daemon_set_is_read() {
        let set = serde_json::json!({
            "metadata": { "namespace": "kube-system", "name": "aws-node" },
            "spec": { "selector": {}, "template": { "spec": { "containers": [
                { "name": "a", "command": ["/a"], "args": ["--x=1"], "env": [{ "name": "E", "value": "v" }, { "name": "F" }] },
            ] } } },
        });
        let set: DaemonSet = serde_json::from_value(set).unwrap();
        let read = Workload::from(&set);
        assert_eq!(
            (read.containers, read.words),
            (vec!["a".to_owned()], ["/a", "--x=1", "E=v", "F="].map(str::to_owned).into())
        );
    }
}
