//! `flock-compiler verify`: a receipt is proven by translating the objects again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write};
use std::path::Path;

use bytes::Bytes;
use flock_compiler_core::object::{Facts, Overdue};
use flock_compiler_core::revision::LAYOUT_VERSION;
use flock_compiler_core::translate::translate_with;
use flock_compiler_core::world::Trust;
use flock_compiler_core::{Change, Edit, Options, Translation, World};
use flock_convert::HostInterfaces;
use flock_convert::manifests::Manifests;
use flock_proto::{Hello, ReceiptFile, v1};
use flock_shared::{NamespaceName, NodeName, PodKey, PolicyKey};
use prost::Message as _;

use crate::cli::Verify;
use crate::facts;

/// The largest receipt that is read, in bytes: of 20,000 nodes.
const LIMIT: u64 = 64 * 1024 * 1024;

/// Names of options in receipts.
const UNREADY_PODS: &str = "unreadyPods";
const DROPS: &str = "drops";
const ANY_ADDRESS: &str = "attachAnyAddress";
const CNI_INTERFACES: &str = "interfacesOfCni";
const HOST_INTERFACES: &str = "hostInterfaces";

/// What verifying came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// The objects ask for exactly what the receipt says, and each node has acknowledged it.
    Proven,
    /// They do not, or one has not; what differs is on standard output.
    NotProven,
    /// The input is bad: the messages say where.
    BadInput,
}

/// The options that revisions depend on, by the names that they have in receipts.
pub(crate) fn options(options: &Options, interfaces: &str) -> BTreeMap<String, String> {
    let Trust { any_address, interfaces: of_cni } = options.trust;
    let all = [
        (UNREADY_PODS, options.unready_pods.to_string()),
        (DROPS, options.drops.to_string()),
        (ANY_ADDRESS, any_address.to_string()),
        (CNI_INTERFACES, of_cni.to_string()),
        (HOST_INTERFACES, interfaces.to_owned()),
    ];
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Verifies a receipt; what differs goes to `out`, what is wrong with the input to `err`, a line each.
///
/// # Errors
/// When `out` or `err` cannot be written.
pub fn verify(asked: &Verify, out: &mut impl Write, err: &mut impl Write) -> io::Result<Verification> {
    type Told = (Vec<Facts>, Vec<Overdue>);
    let read = || -> Result<(ReceiptFile, Options, HostInterfaces, Told), String> {
        let receipt = read(&asked.receipt)?;
        let (options, interfaces) = parse_options(&receipt)?;
        let facts = receipt.nodes.iter().filter(|node| !node.facts.is_empty());
        let facts = facts.map(|node| {
            let bytes = node.facts_bytes().ok_or("is not hexadecimal".to_owned());
            let hello = bytes
                .and_then(|bytes| v1::Hello::decode(Bytes::from(bytes)).map_err(|error| error.to_string()));
            let hello = hello.and_then(|hello| Hello::try_from(hello).map_err(|error| error.to_string()));
            let hello = hello.map_err(|error| format!("facts of node {:?}: {error}", node.node))?;
            match hello.node.as_str() == node.node {
                true => Ok(facts::of_hello(&hello)),
                false => Err(format!("facts of node {:?} are those of {}", node.node, hello.node)),
            }
        });
        let facts: Vec<Option<Facts>> = facts.collect::<Result<_, String>>()?;
        let overdue = overdue(&receipt)?;
        Ok((receipt, options, interfaces, (facts.into_iter().flatten().collect(), overdue)))
    };
    let (receipt, options, interfaces, (facts, overdue)) = match read() {
        Ok(read) => read,
        Err(error) => {
            writeln!(err, "error: {}: {error}", asked.receipt.display())?;
            return Ok(Verification::BadInput);
        }
    };
    let manifests = Manifests::load(&asked.manifests, &interfaces.into());
    for error in &manifests.errors {
        writeln!(err, "error: {error}")?;
    }
    if !manifests.errors.is_empty() {
        return Ok(Verification::BadInput);
    }
    let mut world = World::trusting(options.trust);
    let facts = facts.into_iter().map(|facts| Change::Facts(Edit::Upsert(facts)));
    let overdue = overdue.into_iter().map(|overdue| Change::Overdue(Edit::Upsert(overdue)));
    manifests.listings().into_iter().chain(facts).chain(overdue).for_each(|change| drop(world.apply(change)));
    let translation = translate_with(&world, options);
    let found = differences(&receipt, &world, &translation);
    for line in &found {
        writeln!(out, "{line}")?;
    }
    if found.is_empty() {
        let nodes = match receipt.nodes.len() {
            1 => "1 node enforces".to_owned(),
            several => format!("{several} nodes enforce"),
        };
        let policies = match receipt.policies.len() {
            1 => "1 policy".to_owned(),
            several => format!("{several} policies"),
        };
        writeln!(out, "proven: {nodes} what these objects ask for, {policies} among them")?;
    }
    out.flush()?;
    Ok(if found.is_empty() { Verification::Proven } else { Verification::NotProven })
}

fn read(path: &Path) -> Result<ReceiptFile, String> {
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    // One byte more than may be, by which what is too long is noticed.
    file.take(LIMIT + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > LIMIT {
        return Err(format!("is longer than {LIMIT} bytes"));
    }
    let receipt: ReceiptFile = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    // Of another layout, equal objects have other revisions: nothing could be proven.
    if receipt.layout_version != u32::from(LAYOUT_VERSION) {
        return Err(format!(
            "was made by compiler {} with tables of version {}; this one makes version {LAYOUT_VERSION}",
            receipt.compiler_version, receipt.layout_version
        ));
    }
    Ok(receipt)
}

fn parse_options(receipt: &ReceiptFile) -> Result<(Options, HostInterfaces), String> {
    let value = |name: &str| {
        let found = receipt.options.get(name).map(String::as_str);
        found.ok_or_else(|| format!("options: {name} is missing"))
    };
    let wrong = |name: &str, error: &dyn std::fmt::Display| format!("options: {name}: {error}");
    let flag = |name: &str| value(name)?.parse::<bool>().map_err(|error| wrong(name, &error));
    let unready_pods = value(UNREADY_PODS)?.parse().map_err(|error| wrong(UNREADY_PODS, &error))?;
    let drops = value(DROPS)?.parse().map_err(|error| wrong(DROPS, &error))?;
    let trust = Trust { any_address: flag(ANY_ADDRESS)?, interfaces: flag(CNI_INTERFACES)? };
    let interfaces = value(HOST_INTERFACES)?.parse().map_err(|error| wrong(HOST_INTERFACES, &error))?;
    Ok((Options { unready_pods, drops, trust, ..Options::default() }, interfaces))
}

/// Who is not waited for any more, on all nodes.
fn overdue(receipt: &ReceiptFile) -> Result<Vec<Overdue>, String> {
    let all = receipt.nodes.iter().flat_map(|node| node.overdue.iter().map(move |overdue| (node, overdue)));
    let all = all.map(|(node, overdue)| {
        let wrong = |error: &dyn std::fmt::Display| format!("overdue of node {:?}: {error}", node.node);
        match &overdue.pod {
            Some(pod) => {
                PodKey::new(&overdue.namespace, pod).map(Overdue::Pod).map_err(|error| wrong(&error))
            }
            None => {
                let node = NodeName::new(&node.node).map_err(|error| wrong(&error))?;
                let namespace = NamespaceName::new(&overdue.namespace).map_err(|error| wrong(&error))?;
                Ok(Overdue::Namespace(node, namespace))
            }
        }
    });
    all.collect()
}

/// What the objects do not bear out.
fn differences(receipt: &ReceiptFile, world: &World, translation: &Translation) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(broken) = translation.broken() {
        found.push(format!("an invariant of the translation is broken, please report this: {broken}"));
    }
    for node in &receipt.nodes {
        let name = NodeName::new(&node.node);
        let Some(output) = name.ok().and_then(|name| translation.nodes().get(&name)) else {
            found.push(format!("node {:?}: these objects name no such node", node.node));
            continue;
        };
        let revision = output.revision().as_str();
        if node.desired_revision != revision {
            let said = &node.desired_revision;
            found.push(format!(
                "node {}: these objects come to {revision}, the receipt says {said:?}",
                node.node
            ));
        }
        if node.applied_revision.as_deref() != Some(revision) {
            let said =
                node.applied_revision.as_ref().map_or_else(|| "nothing".to_owned(), |it| format!("{it:?}"));
            found.push(format!("node {}: it has acknowledged {said}, not {revision}", node.node));
        }
    }
    for policy in &receipt.policies {
        let key = PolicyKey::new(&policy.namespace, &policy.name);
        if !key.is_ok_and(|key| world.policies().contains_key(&key)) {
            let name = format!("{}/{}", policy.namespace, policy.name);
            found.push(format!("policy {name:?}: it is not among these objects"));
        }
    }
    found
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
