//! The statements of a delta. Those of shared rule sets and address sets are written once for all nodes to which the
//! same happens.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use flock_shared::steps::{STEP, STEP_OBJECTS};
use flock_shared::{Revision, Script, Superseded};

use super::comparison::Comparison;
use super::markers::MarkerUpdate;
use super::shared::SharedChange;
use super::{Delta, diff, fits};
use crate::nft::{Transaction, sets_in_steps};
use crate::output::{Form, NodeRules, Output};

/// The statements of a delta, without those that change the marker: many nodes may share them.
#[derive(Debug, Clone)]
pub struct DeltaBody {
    parts: Arc<Statements>,
    node_rules: Bytes,
    /// Whether anything of this deletes.
    deletes: bool,
}

/// The statements of shared rule sets and address sets.
#[derive(Debug)]
struct Statements {
    /// Steps that fill new sets, where one step would be too large; nothing otherwise.
    filling: String,
    /// What they add.
    additions: String,
    /// Their other edits, and what of them goes.
    edits: String,
}

impl Statements {
    fn of(transaction: &Transaction) -> Self {
        let edits = transaction.write_edits();
        if transaction.objects() <= STEP_OBJECTS {
            return Self { filling: String::new(), additions: transaction.write_additions(), edits };
        }
        // New sets come first, in steps of their own, for nothing refers to them until the last step is committed.
        let filling = sets_in_steps(String::new(), transaction.unused_sets(), STEP_OBJECTS);
        Self { filling, additions: transaction.without_unused().write_additions(), edits }
    }
}

/// Equal statements, however they are shared.
impl PartialEq for DeltaBody {
    fn eq(&self, other: &Self) -> bool {
        self.pieces().into_iter().flatten().eq(other.pieces().into_iter().flatten())
    }
}

impl Eq for DeltaBody {}

impl DeltaBody {
    /// The statements of a delta.
    #[must_use]
    pub fn of(delta: &Delta) -> Self {
        let parts = Arc::new(Statements::of(&delta.parts));
        let deletes = delta.parts.deletes() || delta.node_rules.deletes();
        Self { parts, node_rules: delta.node_rules.write().into(), deletes }
    }

    fn pieces(&self) -> [&[u8]; 4] {
        let Statements { filling, additions, .. } = &*self.parts;
        // The node's own statements may refer to what is added, and what goes may be referred to until they are
        // through.
        [filling.as_bytes(), additions.as_bytes(), &self.node_rules, self.parts.edits.as_bytes()]
    }

    /// The length of the statements, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces().into_iter().map(<[u8]>::len).sum()
    }

    /// Returns true if there are no statements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns true if anything is deleted, for which nft waits.
    #[must_use]
    pub const fn deletes(&self) -> bool {
        self.deletes
    }

    /// How the delta from `base` to `revision` ends on a table that has gone on from `superseded` before.
    #[must_use]
    pub fn end(&self, base: &Revision, revision: &Revision, superseded: &Superseded) -> MarkerUpdate {
        MarkerUpdate::of(self.deletes, base, revision, superseded)
    }

    /// The script that ends like this. nft refuses it as a whole where its base does not stand.
    #[must_use]
    pub fn script(&self, end: &MarkerUpdate) -> Script {
        let is_stepped = !self.parts.filling.is_empty();
        let (start, end) = if is_stepped { end.around_steps() } else { (String::new(), end.write()) };
        // As long as it will be: what is too long would be copied once more.
        let mut script = Vec::with_capacity(self.len() + start.len() + STEP.len() + 1 + end.len());
        let [filling, rest @ ..] = self.pieces();
        script.extend_from_slice(start.as_bytes());
        script.extend_from_slice(filling);
        if is_stepped {
            script.extend_from_slice(STEP.as_bytes());
            script.push(b'\n');
        }
        rest.into_iter().for_each(|piece| script.extend_from_slice(piece));
        script.extend_from_slice(end.as_bytes());
        Script::new(script)
    }
}

/// Writes the deltas of many nodes. It remembers what it has written of shared rule sets and address sets.
#[derive(Debug, Default)]
pub struct DeltaCache {
    /// The statements of shared rule sets and address sets, where any lead there.
    written: HashMap<Arc<SharedChange>, Option<Arc<Statements>>>,
    /// The newest: to the next node mostly happens the same.
    newest: Option<(Arc<SharedChange>, Option<Arc<Statements>>)>,
    /// Where statements of nodes' own are written, so that what is kept of them is as long as they are.
    node_rules: String,
}

impl DeltaCache {
    /// For how many different changes of shared rule sets and address sets it has written statements.
    #[must_use]
    pub fn written(&self) -> usize {
        self.written.len()
    }

    /// The statements of the way from one output to another, the same as those of [`diff`]; `None` where only a full
    /// script leads there.
    pub fn body(&mut self, old: &Output, new: &Output) -> Option<DeltaBody> {
        let is_closed = [old, new].iter().any(|output| output.form() == Form::Closed);
        let differ = |same: fn(&NodeRules, &NodeRules) -> bool| !same(old.node_rules(), new.node_rules());
        // Rare, and nothing for a comparison, which takes it for granted that both agree in these.
        if is_closed || differ(|a, b| a.families == b.families) || differ(|a, b| a.drops == b.drops) {
            return diff(old, new).as_ref().map(DeltaBody::of);
        }
        let comparison = Comparison::of(old, new);
        self.node_rules.clear();
        let node_rules_delete = comparison.write_node_rules(&mut self.node_rules)?;
        let node_rules = Bytes::copy_from_slice(self.node_rules.as_bytes());
        let parts = self.statements(comparison.parts)?;
        let deletes = node_rules_delete || !parts.edits.is_empty();
        Some(DeltaBody { parts, node_rules, deletes })
    }

    /// The statements of shared rule sets and address sets; `None`: none lead there.
    fn statements(&mut self, wanted: SharedChange) -> Option<Arc<Statements>> {
        if let Some((_, found)) = self.newest.as_ref().filter(|(newest, _)| **newest == wanted) {
            return found.clone();
        }
        let wanted = Arc::new(wanted);
        let write = || {
            let transaction = wanted.transaction().filter(fits)?;
            Some(Arc::new(Statements::of(&transaction)))
        };
        let found = self.written.entry(Arc::clone(&wanted)).or_insert_with(write).clone();
        self.newest = Some((wanted, found.clone()));
        found
    }
}
