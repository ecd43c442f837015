//! What an agent says on its stream.

use flock_shared::cni::Sandbox;

use crate::{Ack, Drops, Flows, Hello, NodeFacts, WireError, attach, v1};

/// One message of an agent. The first of a stream is the hello, and no other one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentMessage {
    /// Who opens the stream.
    Hello(Hello),
    /// The answer to an update.
    Ack(Ack),
    /// What the node is like, if that has changed.
    Facts(NodeFacts),
    /// A question about connections.
    Flows(Flows),
    /// The node's sandboxes, at most [`crate::SANDBOXES_LIMIT`].
    Sandboxes(Vec<Sandbox>),
    /// What policies denied.
    Drops(Drops),
}

impl From<AgentMessage> for v1::AgentMessage {
    fn from(message: AgentMessage) -> Self {
        let message = match message {
            AgentMessage::Hello(hello) => v1::agent_message::Message::Hello(hello.into()),
            AgentMessage::Ack(ack) => v1::agent_message::Message::Ack(ack.into()),
            AgentMessage::Facts(facts) => v1::agent_message::Message::Facts(facts.into()),
            AgentMessage::Flows(flows) => v1::agent_message::Message::Flows(flows.into()),
            AgentMessage::Drops(drops) => v1::agent_message::Message::Drops(drops.into()),
            AgentMessage::Sandboxes(all) => v1::agent_message::Message::Sandboxes(attach::of_sandboxes(all)),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<v1::AgentMessage> for AgentMessage {
    type Error = WireError;

    fn try_from(message: v1::AgentMessage) -> Result<Self, WireError> {
        match message.message {
            Some(v1::agent_message::Message::Hello(hello)) => Hello::try_from(hello).map(Self::Hello),
            Some(v1::agent_message::Message::Ack(ack)) => Ack::try_from(ack).map(Self::Ack),
            Some(v1::agent_message::Message::Facts(facts)) => NodeFacts::try_from(facts).map(Self::Facts),
            Some(v1::agent_message::Message::Flows(flows)) => Flows::try_from(flows).map(Self::Flows),
            Some(v1::agent_message::Message::Sandboxes(all)) => attach::sandboxes(all).map(Self::Sandboxes),
            Some(v1::agent_message::Message::Drops(drops)) => Drops::try_from(drops).map(Self::Drops),
            None => Err(WireError::Missing { field: "agent_message.message" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use flock_shared::{NodeName, Superseded};

    use super::*;
    use crate::{Outcome, Position};

    #[test]
    fn survives_the_wire() {
        let hello = Hello {
            node: NodeName::new("n1").unwrap(),
            agent_version: String::new(),
            nft_version: String::new(),
            applied: None,
            position: Position::default(),
            drifts: 0,
            superseded: Superseded::default(),
            facts: None,
            refused: Vec::new(),
            grammar: 1,
            cni: false,
            drops: false,
        };
        let ack = Ack {
            revision: None,
            outcome: Outcome::Malformed,
            error: String::new(),
            took: Duration::ZERO,
            drifts: 0,
        };
        let facts = NodeFacts::default();
        for message in [AgentMessage::Hello(hello), AgentMessage::Ack(ack), AgentMessage::Facts(facts)] {
            assert_eq!(AgentMessage::try_from(v1::AgentMessage::from(message.clone())), Ok(message));
        }
    }

    #[test]
    fn an_empty_message_is_refused() {
        let refused = AgentMessage::try_from(v1::AgentMessage { message: None });
        assert_eq!(refused, Err(WireError::Missing { field: "agent_message.message" }));
    }
}
