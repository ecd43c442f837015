//! What CNI did on a node: the sandboxes of its pods, with the addresses and the interface that each was given.
//!
//! The plugin on the node tells, the compiler that hears it writes it down for all replicas (kind `NodePods`). A pod whose
//! UID was attached once has the addresses of its sandboxes and no others: what its status says comes later, and stays
//! longer than the sandbox.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::{NodeName, PodKey};

use super::fault::Fault;
use super::interface::InterfaceName;
use crate::collections::sorted::Sorted;

/// The UID of a pod as its kubelet knows it: `metadata.uid`, or, of a mirror pod, its annotation
/// `kubernetes.io/config.hash`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(UidText);

/// How the text is kept: a cluster has many, and nearly all are sixteen bytes in one of two forms.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum UidText {
    /// 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12.
    Uuid([u8; 16]),
    /// 32 hexadecimal digits.
    Hash([u8; 16]),
    Other(Arc<str>),
}

/// The places before which a UUID has a dash, in digits.
const DASHES: [usize; 4] = [8, 12, 16, 20];

/// The longest UID.
const LONGEST_UID: usize = 128;

/// A text that is no UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no UID; expected 1 to {LONGEST_UID} letters, digits, dots, dashes or underscores")]
pub struct PodUidError;

impl PodUid {
    /// Wraps the text of a UID.
    ///
    /// # Errors
    /// If it is empty, too long, or holds what no UID does.
    pub fn new(text: &str) -> Result<Self, PodUidError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > LONGEST_UID || !text.bytes().all(plain) {
            return Err(PodUidError);
        }
        let short = sixteen(text).map(|bytes| match text.len() {
            32 => UidText::Hash(bytes),
            _ => UidText::Uuid(bytes),
        });
        // Only what is written back with the same characters: UIDs are compared as text.
        let short = short.map(Self).filter(|uid| uid.to_string() == text);
        Ok(short.unwrap_or_else(|| Self(UidText::Other(text.into()))))
    }
}

/// The bytes of 32 hexadecimal digits with any dashes between them.
fn sixteen(text: &str) -> Option<[u8; 16]> {
    let mut value: u128 = 0;
    let mut digits = 0;
    for character in text.chars().filter(|character| *character != '-') {
        // More than 32 digits overflow, unless they begin with zeros, for which digits are counted.
        value = value.checked_mul(16)? + u128::from(character.to_digit(16)?);
        digits += 1;
    }
    (digits == 32).then(|| value.to_be_bytes())
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, dashes) = match &self.0 {
            UidText::Other(text) => return f.pad(text),
            UidText::Uuid(bytes) => (bytes, &DASHES[..]),
            UidText::Hash(bytes) => (bytes, &[][..]),
        };
        for (index, byte) in bytes.iter().enumerate() {
            let dash = if dashes.contains(&(2 * index)) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// What is known of a pod's sandboxes once there has been one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// There is at least one.
    Attached {
        /// The addresses of all of them.
        addresses: Sorted<IpAddr>,
        /// The host's end of the link of the newest that has one.
        interface: Option<InterfaceName>,
    },
    /// There is none any more: the pod has no address, whatever its status says.
    Detached,
}

/// One sandbox of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The pod.
    pub pod: PodKey,
    /// The pod's UID: a later pod of the same name is another one.
    pub uid: PodUid,
    /// What it was given; `Detached`: it is gone, and its pod's object is not, as far as is known.
    pub attachment: Attachment,
}

/// `NodePods`: the sandboxes of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePods {
    node: NodeName,
    /// By pod and UID; of one pod in the order of the object.
    sandboxes: Box<[Sandbox]>,
    faults: Vec<Fault>,
}

impl NodePods {
    /// The sandboxes of a node, in any order, and what was not understood of the object.
    #[must_use]
    pub fn new(node: NodeName, mut sandboxes: Vec<Sandbox>, faults: Vec<Fault>) -> Self {
        // A stable sort: of one pod the order of the object says which sandbox is the newest.
        sandboxes.sort_by(|a, b| (&a.pod, &a.uid).cmp(&(&b.pod, &b.uid)));
        Self { node, sandboxes: sandboxes.into(), faults }
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &NodeName {
        &self.node
    }

    /// The sandboxes, by pod and UID.
    #[must_use]
    pub fn sandboxes(&self) -> &[Sandbox] {
        &self.sandboxes
    }

    /// What was not understood and left out.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What is known of a pod with this UID; `None`: it never had a sandbox.
    #[must_use]
    pub fn of(&self, pod: &PodKey, uid: &PodUid) -> Option<Attachment> {
        let first = self.sandboxes.partition_point(|other| (&other.pod, &other.uid) < (pod, uid));
        let all = self.sandboxes.get(first..).unwrap_or_default();
        let mut own = all.iter().take_while(|other| other.pod == *pod && other.uid == *uid).peekable();
        own.peek()?;
        let mut found = Attachment::Detached;
        for sandbox in own {
            found = found.and(&sandbox.attachment);
        }
        Some(found)
    }
}

impl Attachment {
    /// What is known of a pod with this sandbox and a later one.
    fn and(self, later: &Self) -> Self {
        match (self, later) {
            (Self::Detached, later) => later.clone(),
            (attached, Self::Detached) => attached,
            (
                Self::Attached { addresses, interface },
                Self::Attached { addresses: more, interface: newest },
            ) => Self::Attached {
                addresses: addresses.iter().chain(more.iter()).copied().collect(),
                interface: newest.clone().or(interface),
            },
        }
    }
}

/// Returns true if a pod can have this address: it is none of the node itself, of a link or of a group.
#[must_use]
pub fn is_assignable(address: IpAddr) -> bool {
    let on_a_link = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(on_a_link || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(text: &str) -> PodUid {
        PodUid::new(text).unwrap()
    }

    #[test]
    fn a_uid_is_its_text() {
        let uuid = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0";
        for text in [
            uuid,
            &uuid.to_uppercase(),
            &uuid.replace('-', ""),
            &uuid.replacen('-', "", 1),
            "0b1c2d3e4f50-6172-8394-a5b6c7d8e9f0-",
            "00000000-0000-0000-0000-000000000000",
            "1",
            "static_pod.7",
        ] {
            assert_eq!(uid(text).to_string(), text);
            assert_eq!(format!("{:?}", uid(text)), format!("{text:?}"));
        }
        assert_ne!(uid(uuid), uid(&uuid.replace('-', "")));
        assert_ne!(uid(uuid), uid(&uuid.to_uppercase()));
        for text in ["", "a b", "ä", "a\n", &"a".repeat(129)] {
            assert_eq!(PodUid::new(text), Err(PodUidError), "{text:?}");
        }
        assert_eq!(size_of::<PodUid>(), 24, "a cluster has 150,000");
    }

    #[test]
    fn what_is_known_of_a_pod_is_what_its_sandboxes_come_to() {
        let (pod, other) = (PodKey::new("a", "x").unwrap(), PodKey::new("a", "y").unwrap());
        let sandbox = |pod: &PodKey, uid: &str, attachment| Sandbox {
            pod: pod.clone(),
            uid: PodUid::new(uid).unwrap(),
            attachment,
        };
        let at = |address: &str, interface: &str| Attachment::Attached {
            addresses: [address.parse().unwrap()].into(),
            interface: interface.parse::<InterfaceName>().ok(),
        };
        let all = NodePods::new(
            NodeName::new("n").unwrap(),
            vec![
                sandbox(&other, "1", at("10.0.0.9", "v9")),
                sandbox(&pod, "2", Attachment::Detached),
                sandbox(&pod, "1", at("10.0.0.1", "v1")),
                sandbox(&pod, "1", Attachment::Detached),
                sandbox(&pod, "1", at("10.0.0.2", "")),
            ],
            Vec::new(),
        );
        let both = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
        assert_eq!(
            all.of(&pod, &uid("1")),
            Some(Attachment::Attached {
                addresses: both.into(),
                interface: "v1".parse::<InterfaceName>().ok()
            })
        );
        assert_eq!(all.of(&pod, &uid("2")), Some(Attachment::Detached));
        assert_eq!(all.of(&pod, &uid("3")), None);
        assert_eq!(all.of(&other, &uid("2")), None);
        assert_eq!(all.of(&other, &uid("1")), Some(at("10.0.0.9", "v9")));
    }
}
