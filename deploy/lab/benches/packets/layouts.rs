//! The rulesets that are compared.

use std::fmt;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::bail;
use flock_compiler::convert::HostInterfaces;
use flock_compiler::source::manifests::Manifests;
use flock_compiler_core::{World, render, translate};
use flock_shared::NodeName;

use crate::{CLIENT, CLOSING_PORT, ECHO_PORT, SERVER};

/// Removes every ruleset of the bench.
pub(crate) const CLEAN: &str = "add table inet flock_netpol\ndelete table inet flock_netpol\n\
                                add table inet other\ndelete table inet other\n";

/// A ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// None at all: connection tracking is off, too.
    None,
    /// One rule that makes the kernel track connections, on the same hook.
    Conntrack,
    /// Ours, with this number of pods on the node.
    Ours(usize),
    /// The ancestor's, with this number of pods: one jump per pod and direction.
    Ancestor(usize),
    /// A script of the caller's.
    File(PathBuf),
}

impl Layout {
    pub(crate) fn all(pods: &[usize]) -> Vec<Self> {
        let sized = pods.iter().flat_map(|pods| [Self::Ours(*pods), Self::Ancestor(*pods)]);
        [Self::None, Self::Conntrack].into_iter().chain(sized).collect()
    }

    pub(crate) fn script(&self) -> anyhow::Result<String> {
        match self {
            Self::None => Ok(String::from("add table inet other\n")),
            Self::Conntrack => Ok(String::from(
                "table inet other {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n\
                 \t\tct direction reply accept\n\t}\n}\n",
            )),
            Self::Ours(pods) => ours(*pods),
            Self::Ancestor(pods) => Ok(ancestor(*pods)),
            Self::File(path) => Ok(std::fs::read_to_string(path)?),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no ruleset"),
            Self::Conntrack => f.write_str("one conntrack rule"),
            Self::Ours(pods) => write!(f, "ours, {pods} pods"),
            Self::Ancestor(pods) => write!(f, "ancestor, {pods} pods"),
            Self::File(path) => f.pad(&path.display().to_string()),
        }
    }
}

/// The node's pods: the two that talk are in the middle of the others.
fn pods(count: usize) -> Vec<(String, String)> {
    let others = (0..count.saturating_sub(2)).map(|number| {
        let address =
            Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 201, 0, 0)) + u32::try_from(number).unwrap_or(0));
        (format!("pod-{number}"), address.to_string())
    });
    let mut pods: Vec<(String, String)> = others.collect();
    let middle = pods.len() / 2;
    pods.insert(middle, ("server".to_owned(), SERVER.to_owned()));
    pods.insert(middle, ("client".to_owned(), CLIENT.to_owned()));
    pods
}

/// What users write: namespaces of ten pods that are closed by default, and allow their own pods on one port. The
/// two that talk share a namespace, so each packet walks the whole way in both directions.
fn ours(count: usize) -> anyhow::Result<String> {
    let mut manifest = String::from("{apiVersion: v1, kind: Node, metadata: {name: bench}}\n");
    for (index, (name, address)) in pods(count).iter().enumerate() {
        let talks = address == CLIENT || address == SERVER;
        let namespace = if talks { "talking".to_owned() } else { format!("ns-{}", index / 10) };
        write!(
            manifest,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{app: web}}}}\n\
             spec: {{nodeName: bench}}\nstatus: {{podIPs: [{{ip: {address}}}]}}\n"
        )?;
    }
    let namespaces = (0..=count / 10).map(|number| format!("ns-{number}")).chain(["talking".to_owned()]);
    for namespace in namespaces {
        write!(
            manifest,
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
             metadata: {{name: own-pods, namespace: {namespace}}}\n\
             spec: {{podSelector: {{}}, policyTypes: [Ingress, Egress],\n\
             ingress: [{{from: [{{podSelector: {{}}}}], ports: [{{port: {CLOSING_PORT}}}, {{port: {ECHO_PORT}}}]}}],\n\
             egress: [{{to: [{{podSelector: {{}}}}], ports: [{{port: {CLOSING_PORT}}}, {{port: {ECHO_PORT}}}]}}]}}\n"
        )?;
    }
    let manifests = Manifests::from_bytes([("bench", manifest.as_bytes())], &HostInterfaces::None);
    if let Some(error) = manifests.errors.first() {
        bail!("the bench's own manifests: {error}");
    }
    let mut world = World::default();
    for change in manifests.listings() {
        world.apply(change);
    }
    let rendered = render(&translate(&world).output(&NodeName::new("bench")?));
    Ok(String::from_utf8(rendered.bytes().to_vec())?)
}

/// One jump per pod and direction; each pod's chain has the rule of a policy like ours, with its peers in an
/// anonymous set, and ends in drop. Replies are accepted first: the ancestor did not, and let none through.
fn ancestor(count: usize) -> String {
    let pods = pods(count);
    let (mut chains, mut jumps) = (String::new(), String::new());
    for (index, (name, address)) in pods.iter().enumerate() {
        let pod = name.replace('-', "_");
        let neighbours = pods.iter().skip(index / 10 * 10).take(10).map(|(_, address)| address.as_str());
        let others = neighbours.filter(|address| *address != CLIENT && *address != SERVER);
        let peers = [CLIENT, SERVER].into_iter().chain(others).collect::<Vec<&str>>().join(", ");
        for (direction, own, peer) in [("egress", "saddr", "daddr"), ("ingress", "daddr", "saddr")] {
            chains.push_str(&format!(
                "\tchain {direction}_{pod} {{\n\t\tip {peer} {{ {peers} }} tcp dport {{ {CLOSING_PORT}, {ECHO_PORT} }} return\n\t\tdrop\n\t}}\n"
            ));
            jumps.push_str(&format!("\t\tip {own} {address} jump {direction}_{pod}\n"));
        }
    }
    format!(
        "table inet other {{\n{chains}\tchain forward {{\n\t\ttype filter hook forward priority filter; policy accept;\n\
         \t\tct direction reply accept\n{jumps}\t}}\n}}\n"
    )
}
