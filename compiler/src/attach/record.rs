//! The sandboxes of one node as its `NodePods` has them, and what a call does to them. Pure.

use std::net::IpAddr;

use flock_compiler_core::object::{Attachment, InterfaceName, NodePods, PodUid, Sandbox};
use flock_shared::cni::SandboxId;
use flock_shared::{NodeName, PodKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use flock_convert::MOST_SANDBOXES;

/// A sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the runtime calls it.
    pub id: SandboxId,
    /// The pod, and its UID as the world has it.
    pub pod: PodKey,
    /// See [`Self::pod`].
    pub uid: PodUid,
    /// What it was given; `None`: it is gone, and the pod's status is not to count again.
    pub given: Option<Given>,
}

/// What a sandbox was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The host's end of its link, where that is known.
    pub interface: Option<InterfaceName>,
}

/// The sandboxes of a node, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record(Vec<Entry>);

/// A call, as far as a record goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordEdit {
    /// There is this sandbox.
    Attach(Entry),
    /// It is gone.
    Detach,
}

/// A record has no room: so many sandboxes are on the node, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MOST_SANDBOXES} sandboxes are on the node already, which is more than it can have")]
pub struct RecordFull;

impl Record {
    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// What the object takes, in bytes, about.
    #[must_use]
    pub fn weight(&self) -> u64 {
        const NAMES: usize = 80;
        const ADDRESS: usize = 24;
        let weight = |entry: &Entry| {
            let Entry { id, pod, given, .. } = entry;
            let addresses = given.as_ref().map_or(0, |given| given.addresses.len());
            // The UID, and the interface.
            let rest = 36 + 15;
            id.as_str().len()
                + pod.namespace.as_str().len()
                + pod.name.as_str().len()
                + rest
                + NAMES
                + ADDRESS * addresses
        };
        self.0.iter().map(weight).sum::<usize>() as u64
    }

    /// Takes an edit of a sandbox in.
    ///
    /// # Errors
    /// If there is no room for one more.
    pub fn edit(&mut self, id: &SandboxId, edit: &RecordEdit) -> Result<(), RecordFull> {
        match edit {
            RecordEdit::Attach(entry) => self.attach(entry.clone()),
            RecordEdit::Detach => {
                self.detach(|other| other.id == *id);
                Ok(())
            }
        }
    }

    fn attach(&mut self, entry: Entry) -> Result<(), RecordFull> {
        // Nothing moves for what is said again: a record that is equal costs no write.
        if self.0.contains(&entry) {
            return Ok(());
        }
        self.0.retain(|other| other.id != entry.id);
        // An address is given once on a node: whoever had it before is gone, and nobody said so.
        let taken = |other: &Entry| {
            let both = other.given.as_ref().zip(entry.given.as_ref());
            both.is_some_and(|(old, new)| old.addresses.iter().any(|address| new.addresses.contains(address)))
        };
        self.detach(taken);
        // There is a sandbox again, so nothing has to stand for those that are gone.
        self.0.retain(|other| other.given.is_some() || (&other.pod, &other.uid) != (&entry.pod, &entry.uid));
        if self.0.len() >= MOST_SANDBOXES {
            return Err(RecordFull);
        }
        self.0.push(entry);
        Ok(())
    }

    /// What is gone leaves one entry behind for its pod, unless that has another sandbox.
    fn detach(&mut self, gone: impl Fn(&Entry) -> bool) {
        let mut left = Vec::new();
        for entry in std::mem::take(&mut self.0) {
            if gone(&entry) && entry.given.is_some() {
                left.push(Entry { given: None, ..entry });
            } else {
                self.0.push(entry);
            }
        }
        for entry in left {
            if !self.0.iter().any(|other| (&other.pod, &other.uid) == (&entry.pod, &entry.uid)) {
                self.0.push(entry);
            }
        }
    }

    /// Leaves out the sandboxes of pods that are no more.
    pub fn sweep(&mut self, is_gone: impl Fn(&PodKey, &PodUid) -> bool) {
        self.0.retain(|entry| !is_gone(&entry.pod, &entry.uid));
    }

    /// What an object holds; entries that cannot be read are left out, and go with the next write.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        let listed = object.pointer("/spec/sandboxes").and_then(Value::as_array);
        let entries = listed.into_iter().flatten().filter_map(|value| Wire::deserialize(value).ok()?.entry());
        // Others may write the object, too: what is held of it here stays bounded.
        Self(entries.take(MOST_SANDBOXES).collect())
    }

    /// Writes the entries into an object, whose other fields stay.
    pub fn write_into(&self, object: &mut Value) {
        let entries: Vec<Wire> = self.0.iter().map(Wire::of).collect();
        // What is made of strings and numbers can be written.
        let entries = serde_json::to_value(entries).unwrap_or_default();
        if let Some(object) = object.as_object_mut() {
            let spec = object.entry("spec").or_insert_with(|| json!({}));
            // Somebody may have left anything there, and the entries have to go somewhere.
            if !spec.is_object() {
                *spec = json!({});
            }
            if let Some(spec) = spec.as_object_mut() {
                spec.insert("sandboxes".to_owned(), entries);
            }
        }
    }

    /// The object as the world has it.
    #[must_use]
    pub fn object(&self, node: NodeName) -> NodePods {
        let sandbox = |entry: &Entry| Sandbox {
            pod: entry.pod.clone(),
            uid: entry.uid.clone(),
            attachment: match &entry.given {
                Some(given) => Attachment::Attached {
                    addresses: given.addresses.iter().copied().collect(),
                    interface: given.interface.clone(),
                },
                None => Attachment::Detached,
            },
        };
        NodePods::new(node, self.0.iter().map(sandbox).collect(), Vec::new())
    }
}

/// An entry in JSON.
#[derive(Serialize, Deserialize)]
struct Wire {
    id: SandboxId,
    namespace: String,
    name: String,
    uid: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    detached: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Wire {
    fn of(Entry { id, pod, uid, given }: &Entry) -> Self {
        let addresses = given.as_ref().map(|given| given.addresses.clone()).unwrap_or_default();
        let interface = given.as_ref().and_then(|given| given.interface.as_ref()).map(ToString::to_string);
        Self {
            id: id.clone(),
            namespace: pod.namespace.to_string(),
            name: pod.name.to_string(),
            uid: uid.to_string(),
            addresses,
            interface,
            detached: given.is_none(),
        }
    }

    fn entry(self) -> Option<Entry> {
        let pod = PodKey::new(&self.namespace, &self.name).ok()?;
        let uid = PodUid::new(&self.uid).ok()?;
        let interface = match self.interface {
            Some(name) => Some(name.parse().ok()?),
            None => None,
        };
        let given = (!self.detached).then_some(Given { addresses: self.addresses, interface });
        Some(Entry { id: self.id, pod, uid, given })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> SandboxId {
        SandboxId::new(text).unwrap()
    }

    /// `POD-UID@ADDRESS,…`; without addresses the sandbox is gone.
    fn entry(sandbox: &str, text: &str) -> Entry {
        let (pod, addresses) = text.split_once('@').unwrap_or((text, ""));
        let (pod, uid) = pod.split_once('-').unwrap();
        let addresses: Vec<IpAddr> =
            addresses.split(',').filter(|at| !at.is_empty()).map(|at| at.parse().unwrap()).collect();
        let given = (!addresses.is_empty()).then_some(Given { addresses, interface: "v1".parse().ok() });
        Entry {
            id: id(sandbox),
            pod: PodKey::new("shop", pod).unwrap(),
            uid: PodUid::new(uid).unwrap(),
            given,
        }
    }

    fn told(record: &Record) -> Vec<String> {
        let line = |entry: &Entry| {
            let at = entry.given.iter().flat_map(|given| &given.addresses).map(ToString::to_string);
            format!("{} {}-{}@{}", entry.id, entry.pod.name, entry.uid, at.collect::<Vec<_>>().join(","))
        };
        record.0.iter().map(line).collect()
    }

    fn after(calls: &[(&str, &str)]) -> Record {
        let mut record = Record::default();
        for (sandbox, text) in calls {
            let edit =
                if *text == "-" { RecordEdit::Detach } else { RecordEdit::Attach(entry(sandbox, text)) };
            record.edit(&id(sandbox), &edit).unwrap();
        }
        record
    }

    #[test]
    fn calls_in_any_order_of_a_runtime() {
        for (calls, expected) in [
            (&[("s1", "a-1@10.0.0.1")][..], &["s1 a-1@10.0.0.1"][..]),
            (&[("s1", "a-1@10.0.0.1"), ("s1", "a-1@10.0.0.1")], &["s1 a-1@10.0.0.1"]),
            (&[("s1", "a-1@10.0.0.1"), ("s1", "a-1@10.0.0.2")], &["s1 a-1@10.0.0.2"]),
            (&[("s1", "a-1@10.0.0.1"), ("s1", "-")], &["s1 a-1@"]),
            (&[("s1", "a-1@10.0.0.1"), ("s1", "-"), ("s1", "-")], &["s1 a-1@"]),
            (&[("s1", "-")], &[]),
            // A sandbox that is made anew, the old one taken down before or after.
            (&[("s1", "a-1@10.0.0.1"), ("s1", "-"), ("s2", "a-1@10.0.0.2")], &["s2 a-1@10.0.0.2"]),
            (&[("s1", "a-1@10.0.0.1"), ("s2", "a-1@10.0.0.2"), ("s1", "-")], &["s2 a-1@10.0.0.2"]),
            // The next pod with the address, after a DEL that was lost.
            (&[("s1", "a-1@10.0.0.1"), ("s2", "b-1@10.0.0.1")], &["s1 a-1@", "s2 b-1@10.0.0.1"]),
            (
                &[("s1", "a-1@10.0.0.1,fd00::1"), ("s2", "b-1@fd00::1"), ("s1", "-")],
                &["s1 a-1@", "s2 b-1@fd00::1"],
            ),
        ] {
            assert_eq!(told(&after(calls)), expected, "{calls:?}");
        }
    }

    #[test]
    fn a_full_record_takes_no_more_but_gives() {
        let mut record = Record::default();
        let at = |number: usize| {
            entry(&format!("s{number}"), &format!("p{number}-1@10.1.{}.{}", number >> 8, number & 255))
        };
        (0..MOST_SANDBOXES).for_each(|number| record.attach(at(number)).unwrap());
        assert_eq!(record.attach(at(MOST_SANDBOXES)), Err(RecordFull));
        record.edit(&id("s1"), &RecordEdit::Detach).unwrap();
        assert_eq!(record.attach(at(MOST_SANDBOXES)), Err(RecordFull), "what is gone keeps its place");
        record.sweep(|pod, _| pod.name.as_str() == "p1");
        assert_eq!(record.attach(at(MOST_SANDBOXES)), Ok(()));
    }

    #[test]
    fn an_object_keeps_what_is_not_ours() {
        let record = after(&[("s1", "a-1@10.0.0.1,fd00::1"), ("s2", "b-1@10.0.0.2"), ("s2", "-")]);
        let mut object =
            json!({ "metadata": { "name": "n1", "labels": { "x": "y" } }, "spec": { "later": 1 } });
        record.write_into(&mut object);
        let expected = json!({
            "metadata": { "name": "n1", "labels": { "x": "y" } },
            "spec": { "later": 1, "sandboxes": [
                { "id": "s1", "namespace": "shop", "name": "a", "uid": "1", "addresses": ["10.0.0.1", "fd00::1"], "interface": "v1" },
                { "id": "s2", "namespace": "shop", "name": "b", "uid": "1", "detached": true },
            ] },
        });
        assert_eq!(object, expected);
        assert_eq!(Record::of(&object), record);
        let converter = flock_convert::Converter::new("test", flock_convert::HostInterfaces::None);
        assert_eq!(converter.node_pods(&object), Ok(record.object(NodeName::new("n1").unwrap())));
        for odd in
            [json!({}), json!({ "spec": 7 }), json!({ "spec": { "sandboxes": [7, {}, { "id": "a/b" }] } })]
        {
            assert_eq!(Record::of(&odd), Record::default(), "{odd}");
            let mut mended = odd.clone();
            record.write_into(&mut mended);
            assert_eq!(Record::of(&mended), record, "{odd}");
        }
    }
}
