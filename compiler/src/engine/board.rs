//! The board: for each node the newest state, which readers see when they look. Latest wins; nobody waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use flock_compiler_core::output::Form;
use flock_compiler_core::{Body, End, NodeChange, Output, Pass, Translator, diff, render};
use flock_shared::{NodeName, Revision, Script, Superseded};
use tokio::sync::watch;

use super::Desired;

/// What one node should have.
#[derive(Debug)]
pub struct Published {
    output: Arc<Output>,
    /// The way from the state that was published before.
    step: Option<Step>,
    since: SystemTime,
    presence: Presence,
    sequence: Sequence,
    /// The size of the full script, once somebody has asked for it.
    full_size: OnceLock<usize>,
    /// The closed form of the same objects, once a node has needed it.
    closed: OnceLock<Arc<Published>>,
}

#[derive(Debug)]
struct Step {
    base: Revision,
    body: Body,
}

/// The number of a pass of this process: what one has published, a later one knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(u64);

/// Whether the cluster has a node: a Node object, or a pod that runs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It has.
    Known,
    /// An agent asks for a node that nothing names: perhaps its name is wrong, and nothing is isolated there.
    Unknown,
}

impl Published {
    fn new(output: Arc<Output>, step: Option<Step>, presence: Presence, sequence: Sequence) -> Self {
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

    /// Whether the cluster has such a node.
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
    pub fn output(&self) -> &Output {
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
    /// gone on from `superseded` before. `None` when only a full script leads there. As cheap as the change is small.
    #[must_use]
    pub fn delta_from(&self, base: &Self, superseded: &Superseded) -> Option<DeltaScript> {
        let body = match &self.step {
            Some(step) if step.base == *base.revision() => Some(step.body.clone()),
            _ => diff(&base.output, &self.output).as_ref().map(Body::of),
        };
        body.map(|body| DeltaScript { end: body.end(base.revision(), self.revision(), superseded), body })
    }
}

/// The script of a delta, before its statements, which nodes share, have become its own.
#[derive(Debug)]
pub struct DeltaScript {
    body: Body,
    end: End,
}

impl DeltaScript {
    /// About how long the script is, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// What the table has gone on from afterwards and still holds markers of.
    #[must_use]
    pub fn superseded(&self) -> Superseded {
        self.end.superseded()
    }

    /// The script.
    #[must_use]
    pub fn script(&self) -> Script {
        self.body.script(&self.end)
    }
}

type Place = watch::Sender<Option<Arc<Published>>>;

/// The newest state of every node.
#[derive(Debug, Default)]
pub(super) struct Board {
    places: BTreeMap<NodeName, Place>,
    /// Nodes that somebody has asked for and nothing names.
    strangers: BTreeSet<NodeName>,
    sequence: Sequence,
    released: Released,
}

/// So many addresses are remembered that pods have ceased to have; the oldest are forgotten first.
const RELEASED: usize = 65_536;

/// Addresses that pods have ceased to have, each with the newest pass that published it.
#[derive(Debug, Default)]
pub struct Released {
    by_address: BTreeMap<IpAddr, Sequence>,
    /// In the order of their passes; what is not the newest of its address is passed over.
    order: VecDeque<(Sequence, IpAddr)>,
}

impl Released {
    fn take_down(&mut self, sequence: Sequence, addresses: Vec<IpAddr>) {
        for address in addresses {
            self.by_address.insert(address, sequence);
            self.order.push_back((sequence, address));
        }
        while self.order.len() > RELEASED
            && let Some((sequence, address)) = self.order.pop_front()
        {
            if self.by_address.get(&address) == Some(&sequence) {
                self.by_address.remove(&address);
            }
        }
    }

    /// The newest pass that published that a pod has one of these addresses no longer.
    pub fn newest<'a>(&self, addresses: impl IntoIterator<Item = &'a IpAddr>) -> Option<Sequence> {
        addresses.into_iter().filter_map(|address| self.by_address.get(address)).max().copied()
    }
}

impl Board {
    /// Publishes what a pass has changed; the nodes that are forgotten with it.
    pub(super) fn publish(&mut self, pass: Pass, translator: &Translator) -> Vec<NodeName> {
        self.sequence.0 += 1;
        let sequence = self.sequence;
        self.released.take_down(sequence, pass.released);
        for NodeChange { before, after, body } in pass.changes {
            let step = before.zip(body).map(|(before, body)| Step { base: before.revision().clone(), body });
            self.strangers.remove(after.node());
            let place = self.places.entry(after.node().clone()).or_insert_with(|| watch::channel(None).0);
            place.send_replace(Some(Arc::new(Published::new(after, step, Presence::Known, sequence))));
        }
        self.strangers.extend(pass.gone);
        let (places, mut forgotten) = (&mut self.places, Vec::new());
        self.strangers.retain(|node| {
            let Some(place) = places.get(node) else { return false };
            // A node that went away stays as long as somebody listens.
            if place.receiver_count() == 0 {
                places.remove(node);
                forgotten.push(node.clone());
                return false;
            }
            let output = translator.elsewhere(node.clone());
            let unchanged = place.borrow().as_ref().is_some_and(|published| {
                published.presence == Presence::Unknown && *published.output == output
            });
            if !unchanged {
                let published = Published::new(Arc::new(output), None, Presence::Unknown, sequence);
                place.send_replace(Some(Arc::new(published)));
            }
            true
        });
        forgotten
    }

    /// Returns true if the node is of the cluster, or somebody has asked for it of late.
    pub(super) fn has(&self, node: &NodeName) -> bool {
        self.places.contains_key(node)
    }

    /// Where to see what `node` should have; `translator` has made a pass, or nothing is known of any node.
    pub(super) fn subscribe(&mut self, node: NodeName, translator: Option<&Translator>) -> Desired {
        let (strangers, sequence) = (&mut self.strangers, self.sequence);
        let place = self.places.entry(node).or_insert_with_key(|node| {
            strangers.insert(node.clone());
            let output = translator.map(|translator| Arc::new(translator.elsewhere(node.clone())));
            watch::channel(output.map(|o| Arc::new(Published::new(o, None, Presence::Unknown, sequence)))).0
        });
        place.subscribe()
    }

    /// Where to see what each known node should have.
    pub(super) fn all(&self) -> BTreeMap<NodeName, Desired> {
        self.places.iter().map(|(node, place)| (node.clone(), place.subscribe())).collect()
    }

    /// The newest pass.
    pub(super) const fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// What pods have ceased to have.
    pub(super) const fn released(&self) -> &Released {
        &self.released
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}
