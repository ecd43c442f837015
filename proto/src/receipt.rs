//! Receipts as files: JSON with the names of the messages, revisions as they are shown, what agents said as hexadecimal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::v1;

/// What was enforced where, as a file: [`v1::Receipt`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReceiptFile {
    /// When it was made, in RFC 3339.
    pub time: Option<String>,
    /// Version of the compiler.
    pub compiler_version: String,
    /// Version of the tables that it makes.
    pub layout_version: u32,
    /// Options that revisions depend on, by name.
    pub options: BTreeMap<String, String>,
    /// What nodes should have and have, by name.
    pub nodes: Vec<NodeReceipt>,
    /// The policies that this is about, by namespace and name.
    pub policies: Vec<PolicyReceipt>,
}

/// See [`v1::NodeReceipt`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeReceipt {
    /// The node.
    pub node: String,
    /// What the objects ask for.
    pub desired_revision: String,
    /// What the node has acknowledged; absent: nothing.
    pub applied_revision: Option<String>,
    /// Since when, in RFC 3339.
    pub applied_since: Option<String>,
    /// An encoded [`v1::Hello`], hexadecimal; empty: its agent has said nothing.
    pub facts: String,
    /// Who is not waited for any more there.
    #[serde(default)]
    pub overdue: Vec<OverdueReceipt>,
}

/// See [`v1::OverdueReceipt`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverdueReceipt {
    /// The namespace.
    pub namespace: String,
    /// The pod; absent: all of the namespace's.
    pub pod: Option<String>,
}

/// See [`v1::PolicyReceipt`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyReceipt {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// `metadata.resourceVersion`.
    pub resource_version: Option<String>,
}

impl From<v1::Receipt> for ReceiptFile {
    fn from(receipt: v1::Receipt) -> Self {
        let nodes = receipt.nodes.into_iter().map(|node| NodeReceipt {
            node: node.node,
            desired_revision: node.desired_revision,
            applied_revision: node.applied_revision,
            applied_since: node.applied_since.map(|at| at.to_string()),
            facts: node.facts.iter().map(|byte| format!("{byte:02x}")).collect(),
            overdue: node.overdue.into_iter().map(OverdueReceipt::from).collect(),
        });
        let policies = receipt.policies.into_iter().map(|policy| PolicyReceipt {
            namespace: policy.namespace,
            name: policy.name,
            uid: policy.uid,
            resource_version: policy.resource_version,
        });
        Self {
            time: receipt.time.map(|at| at.to_string()),
            compiler_version: receipt.compiler_version,
            layout_version: receipt.layout_version,
            options: receipt.options.into_iter().collect(),
            nodes: nodes.collect(),
            policies: policies.collect(),
        }
    }
}

impl From<v1::OverdueReceipt> for OverdueReceipt {
    fn from(overdue: v1::OverdueReceipt) -> Self {
        Self { namespace: overdue.namespace, pod: overdue.pod }
    }
}

impl NodeReceipt {
    /// The bytes of [`Self::facts`]; `None` if it is not hexadecimal.
    #[must_use]
    pub fn facts_bytes(&self) -> Option<Vec<u8>> {
        let digits = self.facts.as_bytes();
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
            _ => None,
        };
        digits.chunks(2).map(byte).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_hexadecimal() {
        let node = v1::NodeReceipt { facts: vec![0, 0x1f, 0xff].into(), ..v1::NodeReceipt::default() };
        let file = ReceiptFile::from(v1::Receipt { nodes: vec![node], ..v1::Receipt::default() });
        let node = file.nodes.into_iter().next().unwrap();
        assert_eq!(node.facts, "001fff");
        assert_eq!(node.facts_bytes().unwrap(), [0, 0x1f, 0xff]);
        for wrong in ["0", "0g", "ä"] {
            assert_eq!(
                NodeReceipt { facts: wrong.to_owned(), ..node.clone() }.facts_bytes(),
                None,
                "{wrong}"
            );
        }
    }
}
