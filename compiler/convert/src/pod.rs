//! `v1.Pod`.
//!
//! Who a pod is and whether policies apply to it must be understood, or the pod is refused. An address, a port or
//! an interface that is not understood is left out and reported: without it the pod can only reach less.

use std::net::IpAddr;

use flock_compiler_core::object::{
    Lifecycle, NamedPort, Pod, PodNetwork, PodUid, PortName, UnixTime, Untranslated,
};
use flock_compiler_core::sorted::Sorted;
use flock_shared::NodeName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::address;
use super::field::{Faults, Field};
use super::owner::owner;
use super::policy_port::protocol;
use super::{ConvertError, Converter, metadata, usable};

impl Converter {
    /// Converts a pod.
    ///
    /// # Errors
    /// If its name, labels, node, phase or use of the host's network cannot be understood.
    pub fn pod(&self, value: &Value) -> Result<Pod, ConvertError> {
        let (mut fatal, mut left_out) = (self.faults(), self.faults());
        let root = Field::root(value);
        let key = metadata::key(&root, &mut fatal);
        let uid = uid(&root, &mut left_out);
        let labels = metadata::labels(&root, &mut fatal);
        let lifecycle = lifecycle(&root, &mut fatal);
        let (spec, status) = (section(&root, "spec", &mut fatal), section(&root, "status", &mut fatal));
        let node = node(spec.as_ref(), &mut fatal);
        let owner = owner(&root, &labels);
        let host_network = host_network(spec.as_ref(), &mut fatal);
        let pod = key.map(|key| {
            let (network, ports) = if host_network {
                (PodNetwork::Host, Sorted::new())
            } else {
                let network = PodNetwork::own(
                    addresses(status.as_ref(), &mut left_out),
                    self.interfaces.of(&key, &root, &mut left_out),
                );
                (network, named_ports(spec.as_ref(), &mut left_out))
            };
            let mut pod = Pod {
                key,
                uid,
                node,
                labels,
                network,
                lifecycle,
                ports,
                scheduled: None,
                owner: Untranslated(owner),
                faults: left_out.into_vec(),
            };
            if pod.is_on_its_way() {
                pod.scheduled = scheduled(value);
            }
            pod
        });
        usable("Pod", value, pod, fatal)
    }
}

/// The UID as the kubelet knows it. A static pod has one before its object, which is but a mirror with a UID of its own.
fn uid(root: &Field<'_>, left_out: &mut Faults) -> Option<PodUid> {
    let metadata = root.get("metadata")?;
    let annotations = metadata.get("annotations");
    let mirror = annotations.as_ref().filter(|all| all.get("kubernetes.io/config.mirror").is_some());
    let own = mirror.and_then(|all| all.get("kubernetes.io/config.hash"));
    own.or_else(|| metadata.get("uid"))?.parsed(left_out, PodUid::new)
}

fn section<'a>(root: &'a Field<'a>, key: &'a str, fatal: &mut Faults) -> Option<Field<'a>> {
    let section = root.get(key)?;
    section.object(fatal)?;
    Some(section)
}

fn node(spec: Option<&Field<'_>>, fatal: &mut Faults) -> Option<NodeName> {
    let name = spec?.get("nodeName")?;
    // An empty name is how the API writes "not scheduled yet" in some clients' output.
    if name.text(fatal)?.is_empty() { None } else { name.parsed(fatal, NodeName::new) }
}

pub(super) fn host_network(spec: Option<&Field<'_>>, fatal: &mut Faults) -> bool {
    let field = spec.and_then(|spec| spec.get("hostNetwork"));
    field.and_then(|field| field.flag(fatal)).unwrap_or(false)
}

fn lifecycle(root: &Field<'_>, fatal: &mut Faults) -> Lifecycle {
    let status = root.get("status");
    let phase = status.as_ref().and_then(|status| status.get("phase"));
    let metadata = root.get("metadata");
    let deleted = metadata.as_ref().and_then(|metadata| metadata.get("deletionTimestamp"));
    match phase.and_then(|phase| phase.text(fatal)) {
        // Whether it is being deleted or not: a finished pod owns no address, and one that is deleted does.
        Some("Succeeded" | "Failed") => Lifecycle::Finished,
        _ if deleted.is_some() => Lifecycle::Deleting,
        _ => Lifecycle::Live,
    }
}

fn addresses(status: Option<&Field<'_>>, left_out: &mut Faults) -> Sorted<IpAddr> {
    let mut addresses = Vec::new();
    let Some(status) = status else { return Sorted::new() };
    if let Some(listed) = status.get("podIPs") {
        for item in listed.items(left_out) {
            if item.object(left_out).is_some() {
                addresses.extend(item.get("ip").and_then(|ip| pod_ip(&ip, left_out)));
            }
        }
    }
    // It repeats the first of `podIPs`, or is alone where those are not known; what is there twice is once in the set.
    addresses.extend(status.get("podIP").and_then(|ip| pod_ip(&ip, left_out)));
    addresses.into_iter().collect()
}

/// When the scheduler bound the pod to its node. Nothing depends on it but how long is waited at most, so what is not
/// understood is no fault.
fn scheduled(value: &Value) -> Option<UnixTime> {
    let conditions = value.pointer("/status/conditions")?.as_array()?;
    let is = |condition: &&Value, key: &str, word: &str| condition.get(key).is_some_and(|it| it == word);
    let found = conditions.iter().find(|it| is(it, "type", "PodScheduled") && is(it, "status", "True"))?;
    let time: Time = serde_json::from_value(found.get("lastTransitionTime")?.clone()).ok()?;
    UnixTime::new(time.0.as_second())
}

/// An address, unless it is empty: how some clients write that there is none yet.
fn pod_ip(field: &Field<'_>, left_out: &mut Faults) -> Option<IpAddr> {
    let text = field.text(left_out)?;
    if text.is_empty() {
        return None;
    }
    field.parsed(left_out, address::ip)
}

/// The named ports of containers and sidecars; those of init containers that end are gone before traffic comes.
pub(super) fn named_ports(spec: Option<&Field<'_>>, left_out: &mut Faults) -> Sorted<NamedPort> {
    let mut ports = Vec::new();
    let Some(spec) = spec else { return Sorted::new() };
    for list in ["containers", "initContainers"] {
        let Some(containers) = spec.get(list) else { continue };
        for container in containers.items(left_out) {
            let policy = container.get("restartPolicy");
            let sidecar = policy.is_some_and(|policy| policy.text(left_out) == Some("Always"));
            if list == "initContainers" && !sidecar {
                continue;
            }
            let Some(listed) = container.get("ports") else { continue };
            for port in listed.items(left_out) {
                ports.extend(named_port(&port, left_out));
            }
        }
    }
    ports.into_iter().collect()
}

fn named_port(port: &Field<'_>, left_out: &mut Faults) -> Option<NamedPort> {
    // Policies mean ports by number or by name, and only for a name the container's port has to be known.
    let name = port.get("name")?.text(left_out).filter(|name| !name.is_empty())?;
    let protocol = protocol(port, left_out);
    let Some(number) = port.get("containerPort") else {
        left_out.missing(port, "containerPort", "a port number from 1 to 65535");
        return None;
    };
    let number = number.port(left_out)?;
    Some(NamedPort { name: PortName::new(name), protocol: protocol?, number })
}
