//! What CNI did on a node, as an agent tells it, and what becomes of it.

use std::net::IpAddr;
use std::time::Duration;

use flock_shared::cni::{Reach, Sandbox, SandboxId};
use flock_shared::{NodeName, PodKey};

use crate::flows::{address, of_address};
use crate::{WireError, v1};

/// Sandboxes that a message may hold: with two addresses of IPv6 each they are less than 64 KiB apart from their names.
pub const SANDBOXES_LIMIT: usize = 512;

/// Nodes that an answer names.
pub const BEHIND_LIMIT: usize = 8;

/// The longest that a caller may wait.
const LONGEST: Duration = Duration::from_secs(60);

/// A call of CNI's plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// The agent's own node.
    pub node: NodeName,
    /// What CNI gave a pod.
    pub sandbox: Sandbox,
    /// How long the caller waits; cut to a minute.
    pub within: Duration,
}

/// A sandbox is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detach {
    /// The agent's own node.
    pub node: NodeName,
    /// The sandbox.
    pub sandbox: SandboxId,
    /// How long the caller waits; cut to a minute.
    pub within: Duration,
}

/// How far a call has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// How far the pod's addresses are known for what they are.
    pub reach: Reach,
    /// Some of the nodes that have not acknowledged it; cut to [`BEHIND_LIMIT`] when sent.
    pub behind: Vec<NodeName>,
}

impl From<Attach> for v1::AttachRequest {
    fn from(Attach { node, sandbox, within }: Attach) -> Self {
        Self { node: node.to_string(), sandbox: Some(of_sandbox(sandbox)), within: of_within(within) }
    }
}

impl TryFrom<v1::AttachRequest> for Attach {
    type Error = WireError;

    fn try_from(wire: v1::AttachRequest) -> Result<Self, WireError> {
        let said = wire.sandbox.ok_or(WireError::Missing { field: "attach_request.sandbox" })?;
        Ok(Self {
            node: NodeName::new(&wire.node).map_err(WireError::Node)?,
            sandbox: sandbox(said)?,
            within: within("attach_request.within", wire.within)?,
        })
    }
}

impl From<Detach> for v1::DetachRequest {
    fn from(Detach { node, sandbox, within }: Detach) -> Self {
        Self { node: node.to_string(), sandbox: sandbox.to_string(), within: of_within(within) }
    }
}

impl TryFrom<v1::DetachRequest> for Detach {
    type Error = WireError;

    fn try_from(wire: v1::DetachRequest) -> Result<Self, WireError> {
        Ok(Self {
            node: NodeName::new(&wire.node).map_err(WireError::Node)?,
            sandbox: id("detach_request.sandbox", &wire.sandbox)?,
            within: within("detach_request.within", wire.within)?,
        })
    }
}

impl From<Attached> for v1::AttachReply {
    fn from(Attached { reach, behind }: Attached) -> Self {
        let reach = match reach {
            Reach::Everywhere => v1::Reach::Everywhere,
            Reach::Node => v1::Reach::Node,
            Reach::Unclean => v1::Reach::Unclean,
        };
        let behind = behind.iter().take(BEHIND_LIMIT).map(ToString::to_string).collect();
        Self { reach: reach.into(), behind }
    }
}

impl TryFrom<v1::AttachReply> for Attached {
    type Error = WireError;

    fn try_from(wire: v1::AttachReply) -> Result<Self, WireError> {
        let reach = match wire.reach() {
            v1::Reach::Everywhere => Reach::Everywhere,
            v1::Reach::Node => Reach::Node,
            v1::Reach::Unclean => Reach::Unclean,
            v1::Reach::Unspecified => return Err(WireError::Missing { field: "attach_reply.reach" }),
        };
        // Cut and not refused: it names examples for people, and the call has come as far as it says.
        let behind = wire.behind.iter().take(BEHIND_LIMIT).map(|name| NodeName::new(name));
        Ok(Self { reach, behind: behind.collect::<Result<_, _>>().map_err(WireError::Node)? })
    }
}

/// Sandboxes on the wire.
pub(crate) fn of_sandboxes(sandboxes: Vec<Sandbox>) -> v1::Sandboxes {
    v1::Sandboxes { sandboxes: sandboxes.into_iter().take(SANDBOXES_LIMIT).map(of_sandbox).collect() }
}

/// Sandboxes off the wire.
pub(crate) fn sandboxes(wire: v1::Sandboxes) -> Result<Vec<Sandbox>, WireError> {
    // Before any of them is read: whoever sends them may have been taken over.
    let count = wire.sandboxes.len();
    if count > SANDBOXES_LIMIT {
        return Err(WireError::TooMany { field: "sandboxes.sandboxes", count, limit: SANDBOXES_LIMIT });
    }
    wire.sandboxes.into_iter().map(sandbox).collect()
}

fn of_sandbox(sandbox: Sandbox) -> v1::Sandbox {
    v1::Sandbox {
        id: sandbox.id.to_string(),
        namespace: sandbox.pod.namespace.to_string(),
        pod: sandbox.pod.name.to_string(),
        uid: sandbox.uid.unwrap_or_default(),
        addresses: sandbox.addresses.into_iter().map(of_address).collect(),
        interface: sandbox.interface.unwrap_or_default(),
    }
}

fn sandbox(wire: v1::Sandbox) -> Result<Sandbox, WireError> {
    let addresses = wire.addresses.iter().map(|bytes| address("sandbox.addresses", bytes));
    let addresses: Vec<IpAddr> = addresses.collect::<Result<_, _>>()?;
    // Protobuf has an absent string as an empty one.
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let sandbox = Sandbox {
        id: id("sandbox.id", &wire.id)?,
        pod: PodKey::new(&wire.namespace, &wire.pod).map_err(WireError::Pod)?,
        uid: given(wire.uid),
        addresses,
        interface: given(wire.interface),
    };
    sandbox.checked().map_err(|source| WireError::Sandbox { field: "sandbox", source })
}

fn id(field: &'static str, text: &str) -> Result<SandboxId, WireError> {
    SandboxId::new(text).map_err(|source| WireError::Sandbox { field, source })
}

fn of_within(within: Duration) -> Option<prost_types::Duration> {
    // A minute fits, so this is never absent, which the other side would refuse.
    prost_types::Duration::try_from(within.min(LONGEST)).ok()
}

fn within(field: &'static str, wire: Option<prost_types::Duration>) -> Result<Duration, WireError> {
    let wire = wire.ok_or(WireError::Missing { field })?;
    let (seconds, nanos) = (wire.seconds, wire.nanos);
    let within = Duration::try_from(wire).map_err(|_| WireError::Duration { seconds, nanos })?;
    Ok(within.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::AgentMessage;

    fn sandbox(number: usize) -> Sandbox {
        Sandbox {
            id: SandboxId::new(&format!("{number:064x}")).unwrap(),
            pod: PodKey::new("shop", "web-0").unwrap(),
            uid: Some("0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0".to_owned()),
            addresses: vec!["10.244.1.7".parse().unwrap(), "fd00:10:244:1::7".parse().unwrap()],
            interface: Some("veth12345678".to_owned()),
        }
    }

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    #[test]
    fn calls_and_answers_survive_the_wire() {
        let within = Duration::from_millis(2000);
        for sandbox in [sandbox(1), Sandbox { uid: None, interface: None, addresses: vec![], ..sandbox(2) }] {
            let attach = Attach { node: name("n1"), sandbox, within };
            assert_eq!(Attach::try_from(v1::AttachRequest::from(attach.clone())), Ok(attach));
        }
        let detach = Detach { node: name("n1"), sandbox: sandbox(1).id, within };
        assert_eq!(Detach::try_from(v1::DetachRequest::from(detach.clone())), Ok(detach));
        for reach in [Reach::Everywhere, Reach::Node, Reach::Unclean] {
            let attached = Attached { reach, behind: vec![name("n2")] };
            assert_eq!(Attached::try_from(v1::AttachReply::from(attached.clone())), Ok(attached));
        }
        let forever = Detach { within: Duration::from_secs(3600), ..detach_of("x") };
        assert_eq!(Detach::try_from(v1::DetachRequest::from(forever)).unwrap().within, LONGEST);
    }

    fn detach_of(id: &str) -> Detach {
        Detach { node: name("n1"), sandbox: SandboxId::new(id).unwrap(), within: Duration::ZERO }
    }

    #[test]
    fn a_nodes_sandboxes_fit_a_message() {
        let message = AgentMessage::Sandboxes((0..SANDBOXES_LIMIT).map(sandbox).collect());
        let wire = v1::AgentMessage::from(message.clone());
        assert!(wire.encoded_len() < 120 * 1024, "{}", wire.encoded_len());
        assert_eq!(AgentMessage::try_from(wire), Ok(message));
    }

    #[test]
    fn refusals() {
        let wire =
            || v1::AttachRequest::from(Attach { node: name("n1"), sandbox: sandbox(1), within: LONGEST });
        let refused = |edit: fn(&mut v1::Sandbox)| {
            let mut wire = wire();
            wire.sandbox.iter_mut().for_each(edit);
            Attach::try_from(wire).unwrap_err()
        };
        for error in [
            refused(|it| it.id = String::new()),
            refused(|it| it.id = "a/b".to_owned()),
            refused(|it| it.uid = "a b".to_owned()),
            refused(|it| it.interface = "a/b".to_owned()),
            refused(|it| it.interface = "x".repeat(16)),
            refused(|it| it.addresses = vec![vec![10, 0, 0, 1].into(); 17]),
        ] {
            assert!(matches!(error, WireError::Sandbox { .. }), "{error}");
        }
        assert!(matches!(refused(|it| it.pod = "A".to_owned()), WireError::Pod(_)));
        let short = refused(|it| it.addresses = vec![vec![1].into()]);
        assert_eq!(short, WireError::Address { field: "sandbox.addresses", length: 1 });
        let none = v1::AttachRequest { sandbox: None, ..wire() };
        assert_eq!(Attach::try_from(none), Err(WireError::Missing { field: "attach_request.sandbox" }));
        let backwards = Some(prost_types::Duration { seconds: -1, nanos: 0 });
        let refused = Attach::try_from(v1::AttachRequest { within: backwards, ..wire() });
        assert_eq!(refused, Err(WireError::Duration { seconds: -1, nanos: 0 }));
        let many = v1::Sandboxes { sandboxes: vec![v1::Sandbox::default(); SANDBOXES_LIMIT + 1] };
        assert!(matches!(super::sandboxes(many), Err(WireError::TooMany { .. })));
    }
}
