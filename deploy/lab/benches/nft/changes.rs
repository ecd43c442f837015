//! The changes that are measured, as scripts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, ensure};
use flock_compiler_core::{Change, Edit, Labels, NodeChange};
use flock_shapes::parts;
use flock_shared::{PodKey, Revision, SUPERSEDED_LIMIT, Script, ScriptHash, Superseded, TABLE};

use crate::tables::{PEERS, Tables};

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// `add table` of the table that is there: what starting nft costs.
    Spawn,
    /// A rule is added to a chain that nothing uses.
    TrivialAdds,
    /// An empty set is replaced by another.
    TrivialDeletes,
    /// One member more, the set declared again with this element, and nothing of markers.
    AddBlock,
    /// The same as `add element`.
    AddElement,
    /// The compiler's delta for a pod more.
    DeltaAdds,
    /// The same, where as many markers as there may be are swept away.
    DeltaSweeps,
    /// The compiler's delta for a pod less.
    DeltaDeletes,
    /// The full script.
    FullScript,
    /// The ancestor's update.
    AncestorReplaces,
}

impl ChangeKind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Spawn,
        Self::TrivialAdds,
        Self::TrivialDeletes,
        Self::AddBlock,
        Self::AddElement,
        Self::DeltaAdds,
        Self::DeltaSweeps,
        Self::DeltaDeletes,
        Self::FullScript,
        Self::AncestorReplaces,
    ];
    /// Those that leave the table as large as it was.
    pub(crate) const SMALL: [Self; 8] = [
        Self::Spawn,
        Self::TrivialAdds,
        Self::TrivialDeletes,
        Self::AddBlock,
        Self::AddElement,
        Self::DeltaAdds,
        Self::DeltaSweeps,
        Self::DeltaDeletes,
    ];

    /// The trivial change that a bar compares this one with.
    pub(crate) const fn base(self) -> Option<Self> {
        match self {
            Self::AddBlock | Self::DeltaAdds => Some(Self::TrivialAdds),
            Self::DeltaSweeps => Some(Self::TrivialDeletes),
            _ => None,
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Spawn => "nft starts, nothing changes",
            Self::TrivialAdds => "trivial: a rule in an unused chain",
            Self::TrivialDeletes => "trivial that deletes: an empty set replaced",
            Self::AddBlock => "one member more, and no marker",
            Self::AddElement => "… by `add element`",
            Self::DeltaAdds => "delta: one member more",
            Self::DeltaSweeps => "… and all markers swept away",
            Self::DeltaDeletes => "delta: one member less",
            Self::FullScript => "full script",
            Self::AncestorReplaces => "ancestor: table replaced",
        })
    }
}

/// Writes changes that apply one after the other.
pub(crate) struct Changes<'a> {
    tables: &'a mut Tables,
    /// What the node's table has gone on from.
    superseded: Superseded,
    /// Members that were added by hand, pods that came and those of them that went, sets that were replaced.
    added: u32,
    came: u32,
    went: u32,
    replaced: u32,
}

impl<'a> Changes<'a> {
    pub(crate) fn new(tables: &'a mut Tables) -> Self {
        Self { tables, superseded: Superseded::default(), added: 0, came: 0, went: 0, replaced: 0 }
    }

    /// Makes what the trivial changes need.
    pub(crate) fn scratch(&self) -> String {
        format!("add chain {TABLE} scratch\nadd set {TABLE} scratch_0 {{ typeof ip saddr; }}\n")
    }

    pub(crate) fn next(&mut self, kind: ChangeKind) -> anyhow::Result<String> {
        Ok(match kind {
            ChangeKind::Spawn | ChangeKind::FullScript | ChangeKind::AncestorReplaces => {
                format!("add table {TABLE}\n")
            }
            ChangeKind::TrivialAdds => format!("add rule {TABLE} scratch counter\n"),
            ChangeKind::TrivialDeletes => {
                let old = self.replaced;
                self.replaced += 1;
                format!(
                    "delete set {TABLE} scratch_{old}\nadd set {TABLE} scratch_{} {{ typeof ip saddr; }}\n",
                    old + 1
                )
            }
            ChangeKind::AddBlock => {
                let (address, set) = (self.new_member(), &self.tables.set);
                format!(
                    "table {TABLE} {{\n\tset {set} {{\n\t\ttypeof ip saddr\n\t\telements = {{ {address} }}\n\t}}\n}}\n"
                )
            }
            ChangeKind::AddElement => {
                let (address, set) = (self.new_member(), &self.tables.set);
                format!("add element {TABLE} {set} {{ {address} }}\n")
            }
            ChangeKind::DeltaAdds => {
                let script = self.pod_more(&self.superseded.clone())?;
                ensure!(!script.contains("delete"), "it should delete nothing: {script}");
                script
            }
            ChangeKind::DeltaSweeps => {
                // To sweep what is not there takes as many statements.
                let others = (0..u8::MAX).map(|number| Revision::of(ScriptHash::of(&[number])));
                let left = self.superseded.iter().cloned().chain(others).take(SUPERSEDED_LIMIT).collect();
                self.pod_more(&Superseded::new(left)?)?
            }
            ChangeKind::DeltaDeletes => {
                let key = PodKey::new(PEERS, &format!("extra-{}", self.went))?;
                self.went += 1;
                self.delta(Change::Pod(Edit::Delete(key)), &self.superseded.clone())?
            }
        })
    }

    /// What the compiler sends when a pod comes.
    fn pod_more(&mut self, superseded: &Superseded) -> anyhow::Result<String> {
        let (name, address) = (format!("extra-{}", self.came), IpAddr::V4(address(200, self.came)));
        self.came += 1;
        let pod = parts::pod(&parts::namespace_name(PEERS), &name, None, Labels::default(), address, &[]);
        self.delta(Change::Pod(Edit::Upsert(pod)), superseded)
    }

    fn delta(&mut self, change: Change, superseded: &Superseded) -> anyhow::Result<String> {
        let Tables { translator, node, .. } = &mut *self.tables;
        translator.apply(change);
        let changes = translator.pass().changes;
        let change = changes.into_iter().find(|change| change.after.node() == node);
        let NodeChange { before, after, body } = change.context("the node has nothing to change")?;
        let (before, body) = before.zip(body).context("no delta leads there")?;
        let end = body.end(before.revision(), after.revision(), superseded);
        self.superseded = end.superseded();
        text(&body.script(&end))
    }

    fn new_member(&mut self) -> Ipv4Addr {
        self.added += 1;
        address(0, self.added)
    }
}

pub(crate) fn text(script: &Script) -> anyhow::Result<String> {
    Ok(String::from_utf8(script.bytes().to_vec())?)
}

/// An address that no pod of the tables has.
fn address(third: u8, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 16, third, 0)) + number)
}
