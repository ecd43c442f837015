//! The changes that are measured, as scripts.

use std::fmt;
use std::net::Ipv4Addr;

use flock_shared::TABLE;

use crate::tables::Tables;

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// `add table` of the table that is there: what starting nft costs.
    Spawn,
    /// A rule is added to a chain that nothing uses.
    TrivialAdds,
    /// The marker is replaced by another.
    TrivialDeletes,
    /// One member more, the set declared again with this element, without the marker.
    AddBlock,
    /// The same as `add element`.
    AddElement,
    /// A delta as the compiler sends it: one member more, and the marker replaced.
    DeltaAdds,
    /// The same, with `add element`.
    DeltaAddsElement,
    /// A delta that takes a member out.
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
        Self::DeltaAddsElement,
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
        Self::DeltaAddsElement,
        Self::DeltaDeletes,
    ];

    /// The trivial change that a bar compares this one with.
    pub(crate) const fn base(self) -> Option<Self> {
        match self {
            Self::AddBlock => Some(Self::TrivialAdds),
            Self::DeltaAdds => Some(Self::TrivialDeletes),
            _ => None,
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Spawn => "nft starts, nothing changes",
            Self::TrivialAdds => "trivial: a rule in an unused chain",
            Self::TrivialDeletes => "trivial that deletes: marker replaced",
            Self::AddBlock => "one member more",
            Self::AddElement => "… by `add element`",
            Self::DeltaAdds => "delta: one member more, marker replaced",
            Self::DeltaAddsElement => "… by `add element`",
            Self::DeltaDeletes => "delta: one member less, marker replaced",
            Self::FullScript => "full script",
            Self::AncestorReplaces => "ancestor: table replaced",
        })
    }
}

/// Writes changes that apply one after the other.
pub(crate) struct Changes<'a> {
    set: &'a str,
    marker: String,
    /// Members that were added, and those of them that were deleted again, from the first on.
    added: u32,
    deleted: u32,
    markers: u32,
}

impl<'a> Changes<'a> {
    pub(crate) fn new(tables: &'a Tables) -> Self {
        Self { set: &tables.set, marker: tables.marker.clone(), added: 0, deleted: 0, markers: 0 }
    }

    /// Makes what the trivial change needs.
    pub(crate) fn scratch(&self) -> String {
        format!("add chain {TABLE} scratch\n")
    }

    pub(crate) fn next(&mut self, kind: ChangeKind) -> String {
        match kind {
            ChangeKind::Spawn | ChangeKind::FullScript | ChangeKind::AncestorReplaces => {
                format!("add table {TABLE}\n")
            }
            ChangeKind::TrivialAdds => format!("add rule {TABLE} scratch counter\n"),
            ChangeKind::TrivialDeletes => self.swap_marker(),
            ChangeKind::AddBlock => self.add_block(),
            ChangeKind::AddElement => self.add_element(),
            ChangeKind::DeltaAdds => self.add_block() + &self.swap_marker(),
            ChangeKind::DeltaAddsElement => self.add_element() + &self.swap_marker(),
            ChangeKind::DeltaDeletes => {
                let address = member(self.deleted);
                self.deleted += 1;
                format!("delete element {TABLE} {} {{ {address} }}\n", self.set) + &self.swap_marker()
            }
        }
    }

    fn add_block(&mut self) -> String {
        let address = self.new_member();
        let set = self.set;
        format!(
            "table {TABLE} {{\n\tset {set} {{\n\t\ttypeof ip saddr\n\t\telements = {{ {address} }}\n\t}}\n}}\n"
        )
    }

    fn add_element(&mut self) -> String {
        let address = self.new_member();
        format!("add element {TABLE} {} {{ {address} }}\n", self.set)
    }

    fn new_member(&mut self) -> Ipv4Addr {
        self.added += 1;
        member(self.added - 1)
    }

    fn swap_marker(&mut self) -> String {
        self.markers += 1;
        let new = format!("rev_{:032x}", self.markers);
        let old = std::mem::replace(&mut self.marker, new);
        format!("delete set {TABLE} {old}\nadd set {TABLE} {} {{ typeof ip saddr; }}\n", self.marker)
    }
}

/// An address that no pod of the tables has.
fn member(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 16, 0, 0)) + number)
}
