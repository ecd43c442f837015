//! What one node should have, and the ways that lead there.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use flock_compiler_core::output::Form;
use flock_compiler_core::{DeltaBody, MarkerUpdate, Output, diff, render};
use flock_shared::{Revision, Script, Superseded};

/// What one node should have.
#[derive(Debug)]
pub struct Published {
    output: Arc<Output>,
    /// Made by the pass, where it was the pass that changed the node.
    step: Option<DeltaStep>,
    since: SystemTime,
    presence: Presence,
    sequence: Sequence,
    /// The size of the full script, once somebody has asked for it.
    full_size: OnceLock<usize>,
    /// The closed form of the same objects, once a node has needed it.
    closed: OnceLock<Arc<Published>>,
}

/// The way from the state that was published before.
#[derive(Debug)]
pub(super) struct DeltaStep {
    pub(super) base: Revision,
    pub(super) body: DeltaBody,
}

/// The number of a pass of this process: what one has published, a later one knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(u64);

impl Sequence {
    /// The number; the first pass has 1.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The pass after this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What names a node: a Node object or a pod that runs there, or only its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The cluster has it.
    Known,
    /// An agent asks for a node that nothing names: perhaps its name is wrong, and nothing is isolated there.
    Unknown,
}

impl Published {
    pub(super) fn new(
        output: Arc<Output>,
        step: Option<DeltaStep>,
        presence: Presence,
        sequence: Sequence,
    ) -> Self {
        Self {
            output,
            step,
            since: SystemTime::now(),
            presence,
            sequence,
            full_size: OnceLock::new(),
            closed: OnceLock::new(),
        }
    }

    /// The name of this state.
    #[must_use]
    pub fn revision(&self) -> &Revision {
        self.output.revision()
    }

    /// Returns true if it is the closed form.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.output.form() == Form::Closed
    }

    /// What a node should have that refuses this: the closed form of the same objects.
    #[must_use]
    pub fn closed(&self) -> Arc<Self> {
        let make = || Arc::new(Self::new(Arc::new(self.output.closed()), None, self.presence, self.sequence));
        Arc::clone(self.closed.get_or_init(make))
    }

    /// Since when it is the desired one.
    #[must_use]
    pub const fn since(&self) -> SystemTime {
        self.since
    }

    /// What names the node.
    #[must_use]
    pub const fn presence(&self) -> Presence {
        self.presence
    }

    /// The pass that it came from.
    #[must_use]
    pub const fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// What was translated, for the debug service.
    #[must_use]
    pub const fn output(&self) -> &Arc<Output> {
        &self.output
    }

    /// The script that reaches this state from anywhere. It may take milliseconds to render: not for async threads,
    /// nor for thousands of nodes at once.
    #[must_use]
    pub fn full(&self) -> Script {
        let script = render(&self.output);
        self.full_size.get_or_init(|| script.bytes().len());
        script
    }

    /// The size of [`Self::full`] in bytes, if that can be told without rendering it.
    #[must_use]
    pub fn full_size(&self) -> Option<usize> {
        self.full_size.get().copied()
    }

    /// The way that reaches this state from `base`, the node's earlier state, and from no other, on a table that has
    /// gone on from `superseded` before: the statements, which nodes share, and how they end. `None` when only a full script
    /// leads there. As cheap as the change is small.
    #[must_use]
    pub fn delta_from(&self, base: &Self, superseded: &Superseded) -> Option<(DeltaBody, MarkerUpdate)> {
        let body = match &self.step {
            Some(step) if step.base == *base.revision() => Some(step.body.clone()),
            // An agent that has skipped states, or comes back: both outputs are there, so the way is found anew.
            _ => diff(&base.output, &self.output).as_ref().map(DeltaBody::of),
        };
        let body = body?;
        let end = body.end(base.revision(), self.revision(), superseded);
        Some((body, end))
    }
}
