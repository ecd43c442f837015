//! The agent's introduction.

use flock_shared::{NodeName, Revision, Superseded};

use crate::{NodeFacts, Position, WireError, facts, text, v1};

/// The longest version string, in bytes.
pub const VERSION_LIMIT: usize = 256;

/// Who opens a stream and what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The node that the agent enforces.
    pub node: NodeName,
    /// The agent's version; cut to [`VERSION_LIMIT`] when sent.
    pub agent_version: String,
    /// What `nft --version` printed, one line; empty if it could not be run. Cut to [`VERSION_LIMIT`] when sent.
    pub nft_version: String,
    /// The revision that stands in the kernel.
    pub applied: Option<Revision>,
    /// The position of the update that was applied last, also if its table was lost since.
    pub position: Position,
    /// How often since its start the agent has found the table changed by something else.
    pub drifts: u32,
    /// What the table has gone on from and may still hold markers of; as [`crate::Update::superseded`] came with the
    /// update that was applied last.
    pub superseded: Superseded,
    /// What the node is like; `None`: the agent cannot tell.
    pub facts: Option<NodeFacts>,
    /// What nft or the kernel refuses of what scripts may hold, in nft's words, one line each; cut to
    /// [`crate::REFUSED_LINES`] of [`crate::REFUSED_LIMIT`] bytes when sent.
    pub refused: Vec<String>,
    /// Which scripts the agent's guard takes: a number that grows whenever it takes more, from 1.
    pub grammar: u32,
    /// Whether the agent takes calls of CNI's plugin.
    pub cni: bool,
    /// Whether the node takes what takes down drops, and the agent tells them.
    pub drops: bool,
}

impl From<Hello> for v1::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            node: hello.node.to_string(),
            agent_version: text::truncated(hello.agent_version, VERSION_LIMIT),
            nft_version: text::truncated(hello.nft_version, VERSION_LIMIT),
            applied_revision: hello.applied.map(|revision| revision.to_string()).unwrap_or_default(),
            applied_position: hello.position.into_wire(),
            drifts: hello.drifts,
            superseded: text::of_superseded(&hello.superseded),
            facts: hello.facts.map(Into::into),
            refused: facts::refused_to_wire(hello.refused),
            grammar: hello.grammar,
            cni: hello.cni,
            drops: hello.drops,
        }
    }
}

impl TryFrom<v1::Hello> for Hello {
    type Error = WireError;

    fn try_from(hello: v1::Hello) -> Result<Self, WireError> {
        Ok(Self {
            node: NodeName::new(&hello.node).map_err(WireError::Node)?,
            agent_version: text::printable("hello.agent_version", hello.agent_version, VERSION_LIMIT)?,
            nft_version: text::printable("hello.nft_version", hello.nft_version, VERSION_LIMIT)?,
            applied: text::optional_revision("hello.applied_revision", &hello.applied_revision)?,
            position: Position::from_wire("hello.applied_position", &hello.applied_position)?,
            drifts: hello.drifts,
            superseded: text::superseded("hello.superseded", &hello.superseded)?,
            facts: hello.facts.map(NodeFacts::try_from).transpose()?,
            refused: facts::refused_of_wire(hello.refused)?,
            // An agent of before there was a number has the first.
            grammar: hello.grammar.max(1),
            cni: hello.cni,
            drops: hello.drops,
        })
    }
}

#[cfg(test)]
mod tests {
    use flock_shared::{NameError, SUPERSEDED_LIMIT, ScriptHash};
    use prost::Message as _;

    use super::*;
    use crate::REFUSED_LIMIT;

    fn hello() -> Hello {
        Hello {
            node: NodeName::new("n1").unwrap(),
            agent_version: "0.1.0".into(),
            nft_version: "nftables v1.0.6".into(),
            applied: Some(Revision::of(ScriptHash::of(b""))),
            position: Position::new(b"Pod=7").unwrap(),
            drifts: 3,
            superseded: Superseded::new(vec![Revision::of(ScriptHash::of(b"old"))]).unwrap(),
            facts: None,
            refused: Vec::new(),
            grammar: 2,
            cni: true,
            drops: true,
        }
    }

    #[test]
    fn survives_the_wire() {
        let refused = vec!["Error: Could not process rule: Operation not supported".to_owned()];
        for (applied, facts) in [(hello().applied, None), (None, Some(NodeFacts::default()))] {
            let hello = Hello { applied, facts, refused: refused.clone(), ..hello() };
            assert_eq!(Hello::try_from(v1::Hello::from(hello.clone())), Ok(hello));
        }
    }

    #[test]
    fn is_cut_when_sent() {
        let wire = v1::Hello::from(Hello { nft_version: "x".repeat(1000), ..hello() });
        assert_eq!(wire.nft_version.len(), VERSION_LIMIT);
        assert!(Hello::try_from(wire).is_ok());
        let wire = v1::Hello::from(Hello { refused: vec!["ä\n".repeat(REFUSED_LIMIT); 20], ..hello() });
        assert_eq!(wire.refused.len(), 16);
        assert!(Hello::try_from(wire).is_ok());
    }

    #[test]
    fn refusals() {
        let wire = || v1::Hello::from(hello());
        let node = v1::Hello { node: String::new(), ..wire() };
        assert_eq!(Hello::try_from(node), Err(WireError::Node(NameError::Empty)));
        let node = v1::Hello { node: "n1\nn2".into(), ..wire() };
        assert!(matches!(Hello::try_from(node), Err(WireError::Node(NameError::Character { .. }))));
        let agent = v1::Hello { agent_version: "x".repeat(257), ..wire() };
        let too_long = WireError::TooLong { field: "hello.agent_version", length: 257, limit: 256 };
        assert_eq!(Hello::try_from(agent), Err(too_long));
        let nft = v1::Hello { nft_version: "\u{1b}[2J".into(), ..wire() };
        assert_eq!(Hello::try_from(nft), Err(WireError::Unprintable { field: "hello.nft_version" }));
        let applied = v1::Hello { applied_revision: "no revision".into(), ..wire() };
        let refused = Hello::try_from(applied);
        assert!(matches!(refused, Err(WireError::Revision { field: "hello.applied_revision", .. })));
        let twice = v1::Hello { superseded: vec![hello().applied.unwrap().to_string(); 2], ..wire() };
        let refused = Hello::try_from(twice);
        assert!(matches!(refused, Err(WireError::Superseded { field: "hello.superseded", .. })));
        let many = v1::Hello { superseded: vec![String::new(); 100_000], ..wire() };
        let refused = Hello::try_from(many);
        assert!(matches!(refused, Err(WireError::Superseded { field: "hello.superseded", .. })));
        let most = (0..SUPERSEDED_LIMIT).map(|number| Revision::of(ScriptHash::of(&[number as u8])));
        let longest = Hello { superseded: Superseded::new(most.collect()).unwrap(), ..hello() };
        // A reconnect takes some 500 bytes without them, and less than 1 KB in all.
        assert!(v1::Hello::from(longest).encoded_len() < wire().encoded_len() + 450);
        let facts = v1::NodeFacts { tunnel_ports: vec![0], ..NodeFacts::default().into() };
        let refused = Hello::try_from(v1::Hello { facts: Some(facts), ..wire() });
        assert!(matches!(refused, Err(WireError::Facts(_))));
        for refused in [vec!["x".repeat(REFUSED_LIMIT + 1)], vec![String::new(); 17], vec!["a\nb".into()]] {
            assert!(Hello::try_from(v1::Hello { refused, ..wire() }).is_err());
        }
        let position = v1::Hello { applied_position: vec![b'7'; 257].into(), ..wire() };
        let too_long = WireError::TooLong { field: "hello.applied_position", length: 257, limit: 256 };
        assert_eq!(Hello::try_from(position), Err(too_long));
    }

    #[test]
    fn an_agent_of_before_there_were_positions_has_none() {
        let hello =
            Hello::try_from(v1::Hello { applied_position: Vec::new().into(), ..hello().into() }).unwrap();
        assert!(hello.position.is_unknown());
    }
}
