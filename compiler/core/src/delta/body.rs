//! The statements of a delta. Those of its parts are written once for all nodes to which the same happens.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use flock_shared::steps::{STEP, STEP_OBJECTS};
use flock_shared::{Revision, Script, Superseded};

use super::comparison::Comparison;
use super::end::End;
use super::parts::Parts;
use super::{Delta, diff, fits};
use crate::nft::{Transaction, sets_in_steps};
use crate::output::{Form, Output};

/// The statements of a delta, without those that change the marker: many nodes may share them.
#[derive(Debug, Clone)]
pub struct Body {
    parts: Arc<Statements>,
    frame: Bytes,
    /// Whether anything of this deletes.
    deletes: bool,
}

/// The statements of parts.
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
        let filling = sets_in_steps(String::new(), transaction.unused_sets(), STEP_OBJECTS);
        Self { filling, additions: transaction.without_unused().write_additions(), edits }
    }
}

/// Equal statements, however they are shared.
impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.pieces().into_iter().flatten().eq(other.pieces().into_iter().flatten())
    }
}

impl Eq for Body {}

impl Body {
    /// The statements of a delta.
    #[must_use]
    pub fn of(delta: &Delta) -> Self {
        let parts = Arc::new(Statements::of(&delta.parts));
        let deletes = delta.parts.deletes() || delta.frame.deletes();
        Self { parts, frame: delta.frame.write().into(), deletes }
    }

    fn pieces(&self) -> [&[u8]; 4] {
        let Statements { filling, additions, .. } = &*self.parts;
        [filling.as_bytes(), additions.as_bytes(), &self.frame, self.parts.edits.as_bytes()]
    }

    /// The length of the statements, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces().into_iter().map(<[u8]>::len).sum()
    }

    /// Whether there are no statements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether anything is deleted, for which nft waits.
    #[must_use]
    pub const fn deletes(&self) -> bool {
        self.deletes
    }

    /// How the delta from `base` to `revision` ends on a table that has gone on from `superseded` before.
    #[must_use]
    pub fn end(&self, base: &Revision, revision: &Revision, superseded: &Superseded) -> End {
        End::of(self.deletes, base, revision, superseded)
    }

    /// The script that ends like this. nft refuses it as a whole where its base does not stand.
    #[must_use]
    pub fn script(&self, end: &End) -> Script {
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

/// Writes the deltas of many nodes. It remembers what it has written of their parts.
#[derive(Debug, Default)]
pub struct Bodies {
    /// The statements of parts, where any lead there.
    written: HashMap<Arc<Parts>, Option<Arc<Statements>>>,
    /// The newest: to the next node mostly happens the same.
    newest: Option<(Arc<Parts>, Option<Arc<Statements>>)>,
    /// Where statements of nodes' own are written, so that what is kept of them is as long as they are.
    frame: String,
}

impl Bodies {
    /// For how many different changes of parts it has written statements.
    #[must_use]
    pub fn written(&self) -> usize {
        self.written.len()
    }

    /// The statements of the way from one output to another, the same as those of [`diff`]; `None` where only a full
    /// script leads there.
    pub fn body(&mut self, old: &Output, new: &Output) -> Option<Body> {
        let is_closed = [old, new].iter().any(|output| output.form() == Form::Closed);
        if is_closed || old.frame().families != new.frame().families {
            return diff(old, new).as_ref().map(Body::of);
        }
        let comparison = Comparison::of(old, new);
        self.frame.clear();
        let frame_deletes = comparison.write_frame(&mut self.frame)?;
        let frame = Bytes::copy_from_slice(self.frame.as_bytes());
        let parts = self.statements(comparison.parts)?;
        let deletes = frame_deletes || !parts.edits.is_empty();
        Some(Body { parts, frame, deletes })
    }

    /// The statements of parts; `None`: none lead there.
    fn statements(&mut self, wanted: Parts) -> Option<Arc<Statements>> {
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
