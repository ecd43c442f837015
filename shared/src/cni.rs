//! What CNI's plugin and the agent of its node say to each other, over a Unix socket: one line of JSON each way, and the
//! connection is done.
//!
//! ```text
//! runtime ─ CNI ADD ─▶ flock-cni ─ Request ─▶ agent ─ Attach ─▶ compiler
//!                                ◀─ Answer ──       ◀─────────
//! ```

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::PodKey;

/// Where the agent listens unless both are told otherwise.
pub const SOCKET: &str = "/run/flock/cni.sock";

/// The plugin: the name of its binary, and its `type` in a configuration.
pub const PLUGIN: &str = "flock-cni";

/// The versions of the CNI specification that the plugin speaks, in order.
pub const VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// How long the plugin waits unless its configuration says otherwise, in milliseconds.
pub const TIMEOUT_MS: u32 = 2_000;

/// The longest that it may be told to wait, in milliseconds; a kubelet gives up after two minutes.
pub const LONGEST_TIMEOUT_MS: u32 = 60_000;

/// The longest line, in bytes, either way. A list of sandboxes to keep is the longest.
pub const LONGEST_LINE: usize = 256 * 1024;

/// The most addresses of one sandbox.
pub const ADDRESSES_LIMIT: usize = 16;

/// The longest id of a sandbox, in bytes. Runtimes make them of 64 hexadecimal digits.
const LONGEST_ID: usize = 128;

/// The longest name of a network, in bytes.
const LONGEST_NETWORK: usize = 128;

/// The longest UID, in bytes.
const LONGEST_UID: usize = 128;

/// The longest name of an interface, in bytes (`IFNAMSIZ` without its end).
const LONGEST_INTERFACE: usize = 15;

/// What is wrong with a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SandboxError {
    /// The id is none.
    #[error("the id is none; expected 1 to {LONGEST_ID} letters, digits, dots, dashes and underscores")]
    Id,
    /// The name of the network is none.
    #[error(
        "the network's name is none; expected 1 to {LONGEST_NETWORK} letters, digits, dots, dashes and underscores"
    )]
    Network,
    /// The UID is none.
    #[error("the UID is none; expected 1 to {LONGEST_UID} letters, digits, dots, dashes and underscores")]
    Uid,
    /// The name of the interface is none.
    #[error(
        "{name:?} is no name of an interface; expected 1 to {LONGEST_INTERFACE} printable characters without / and spaces"
    )]
    Interface {
        /// What was found, shortened.
        name: String,
    },
    /// There are too many addresses.
    #[error("{count} addresses; a sandbox has at most {ADDRESSES_LIMIT}")]
    Addresses {
        /// How many.
        count: usize,
    },
}

/// `CNI_CONTAINERID`: what a runtime calls a sandbox.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxId(Arc<str>);

impl SandboxId {
    /// Validates and wraps an id.
    ///
    /// # Errors
    /// If it is no id that a runtime may give.
    pub fn new(text: &str) -> Result<Self, SandboxError> {
        if is_word(text, LONGEST_ID) { Ok(Self(text.into())) } else { Err(SandboxError::Id) }
    }

    /// The id as the runtime has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for SandboxId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SandboxId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The name of a network, as its configuration says it. The specification tells attachments apart by it as well, and speaks
/// of those of one network only where it says which stay.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkName(Arc<str>);

impl NetworkName {
    /// Validates and wraps a name.
    ///
    /// # Errors
    /// If it is none that the specification allows.
    pub fn new(text: &str) -> Result<Self, SandboxError> {
        let is_name =
            is_word(text, LONGEST_NETWORK) && text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if is_name { Ok(Self(text.into())) } else { Err(SandboxError::Network) }
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for NetworkName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NetworkName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn is_word(text: &str, longest: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= longest && text.bytes().all(plain)
}

/// What CNI gave a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Sandbox {
    /// What the runtime calls it.
    pub id: SandboxId,
    /// The pod.
    pub pod: PodKey,
    /// The pod's UID, where the runtime tells it.
    pub uid: Option<String>,
    /// Its addresses, in CNI's order; at most [`ADDRESSES_LIMIT`].
    pub addresses: Vec<IpAddr>,
    /// The host's end of its link, where there is one and it can be told.
    pub interface: Option<String>,
}

impl Sandbox {
    /// The sandbox, if its parts are what they may be.
    ///
    /// # Errors
    /// [`SandboxError`] says what is wrong.
    pub fn checked(self) -> Result<Self, SandboxError> {
        if self.uid.as_ref().is_some_and(|uid| !is_word(uid, LONGEST_UID)) {
            return Err(SandboxError::Uid);
        }
        if let Some(name) = self.interface.as_ref().filter(|name| !is_interface(name)) {
            // Cut, for a runtime may say anything, and this goes into logs.
            return Err(SandboxError::Interface { name: name.chars().take(2 * LONGEST_INTERFACE).collect() });
        }
        let count = self.addresses.len();
        if count > ADDRESSES_LIMIT { Err(SandboxError::Addresses { count }) } else { Ok(self) }
    }
}

fn is_interface(name: &str) -> bool {
    let printable = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    let dots = name == "." || name == "..";
    (1..=LONGEST_INTERFACE).contains(&name.len()) && name.bytes().all(printable) && !dots
}

/// A sandbox as a line has it.
#[derive(Serialize, Deserialize)]
struct Wire {
    id: SandboxId,
    namespace: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    #[serde(default)]
    addresses: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
}

impl From<Sandbox> for Wire {
    fn from(Sandbox { id, pod, uid, addresses, interface }: Sandbox) -> Self {
        let (namespace, name) = (pod.namespace.to_string(), pod.name.to_string());
        Self { id, namespace, name, uid, addresses, interface }
    }
}

impl TryFrom<Wire> for Sandbox {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        let Wire { id, namespace, name, uid, addresses, interface } = wire;
        let pod = PodKey::new(&namespace, &name).map_err(|error| format!("the pod's name {error}"))?;
        Self { id, pod, uid, addresses, interface }.checked().map_err(|error| error.to_string())
    }
}

/// A call of the plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What is called for.
    pub call: Call,
    /// The network that the call is of, where it has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkName>,
    /// How long the plugin waits for the answer from now, in milliseconds.
    pub within_ms: u32,
}

/// What the plugin calls for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Call {
    /// CNI ADD: a pod has this.
    Add(Sandbox),
    /// CNI DEL: it is gone.
    Del(SandboxId),
    /// CNI GC: all others of the network are gone.
    Gc(Vec<SandboxId>),
    /// Whether the agent is there.
    Status,
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It is so, as far as this.
    Done {
        /// How far the pod's addresses are known for what they are.
        reach: Reach,
        /// Some of the nodes that are behind.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        behind: Vec<String>,
    },
    /// What was said cannot be; the message is for people.
    Refused(String),
    /// It could not be done in time, or nobody is there to do it; the message is for people.
    Failed(String),
}

/// How far a pod's addresses are known for what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// To all nodes whose tables name them.
    Everywhere,
    /// To the pod's own node; what others are still to open to the pod is not open there yet.
    Node,
    /// There is a node whose table has an address as that of its former owner.
    Unclean,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox() -> Sandbox {
        Sandbox {
            id: SandboxId::new("3fa9").unwrap(),
            pod: PodKey::new("shop", "web-0").unwrap(),
            uid: Some("0b1c".to_owned()),
            addresses: vec!["10.244.1.7".parse().unwrap()],
            interface: Some("veth1".to_owned()),
        }
    }

    #[test]
    fn a_call_is_a_line() {
        let add = Request {
            call: Call::Add(sandbox()),
            network: Some(NetworkName::new("cbr0").unwrap()),
            within_ms: 2000,
        };
        let line = r#"{"call":{"add":{"id":"3fa9","namespace":"shop","name":"web-0","uid":"0b1c","addresses":["10.244.1.7"],"interface":"veth1"}},"network":"cbr0","within_ms":2000}"#;
        assert_eq!(serde_json::to_string(&add).unwrap(), line);
        assert_eq!(serde_json::from_str::<Request>(line).unwrap(), add);
        let nameless = line.replace(r#""network":"cbr0","#, "");
        assert_eq!(serde_json::from_str::<Request>(&nameless).unwrap(), Request { network: None, ..add });
        for call in [Call::Del(sandbox().id), Call::Gc(vec![sandbox().id]), Call::Status] {
            let text = serde_json::to_string(&call).unwrap();
            assert_eq!(serde_json::from_str::<Call>(&text).unwrap(), call, "{text}");
        }
        let done = Answer::Done { reach: Reach::Node, behind: vec!["n2".to_owned()] };
        for answer in [done, Answer::Refused("no".to_owned()), Answer::Failed("late".to_owned())] {
            let text = serde_json::to_string(&answer).unwrap();
            assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), answer, "{text}");
        }
    }

    #[test]
    fn what_no_sandbox_can_have_is_refused() {
        let refused = |edit: fn(&mut Sandbox)| {
            let mut sandbox = sandbox();
            edit(&mut sandbox);
            sandbox.checked().unwrap_err()
        };
        assert_eq!(refused(|it| it.uid = Some(String::new())), SandboxError::Uid);
        assert_eq!(
            refused(|it| it.addresses = vec![[10, 0, 0, 1].into(); 17]),
            SandboxError::Addresses { count: 17 }
        );
        for name in ["", "a b", "a/b", "..", "sixteen-letters-", "v\u{1b}"] {
            let wrong = Sandbox { interface: Some(name.to_owned()), ..sandbox() };
            assert!(matches!(wrong.checked(), Err(SandboxError::Interface { .. })), "{name:?}");
        }
        for id in ["", "a/b", "a b", &"a".repeat(129)] {
            assert_eq!(SandboxId::new(id), Err(SandboxError::Id), "{id:?}");
        }
        for name in ["", ".a", "-a", "a/b", "a b", &"a".repeat(129)] {
            assert_eq!(NetworkName::new(name), Err(SandboxError::Network), "{name:?}");
        }
        for line in [r#"{"add":{"id":"a","namespace":"A","name":"b"}}"#, r#"{"del":"a/b"}"#, r#"{"else":1}"#]
        {
            assert!(serde_json::from_str::<Call>(line).is_err(), "{line}");
        }
    }
}
