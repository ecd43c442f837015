//! What a script costs the node that takes it: counted line by line, on top of what stands.
//!
//! A packet's way ends because a chain goes on to chains of a higher rank only (see [`ChainName::rank`]). How long it is
//! follows from how many rules a chain of each kind has ([`ChainName::rules_limit`]); deltas may add rules and
//! elements to what stands, so the counts of the table that stands are kept.

mod limits;
pub mod node;

use std::collections::{HashMap, HashSet};

use flock_shared::Revision;

pub use limits::{
    BYTES_PER_STEP, CHAINS_PER_TABLE, ELEMENTS_PER_STEP, ELEMENTS_PER_TABLE, EVALUATIONS_PER_PACKET,
    MARKERS_PER_TABLE, OBJECTS_PER_STEP, OWNERS_PER_ADDRESS, SETS_PER_TABLE, STEPS_PER_SCRIPT,
    TUNNEL_PORTS_PER_RULE,
};

use crate::direction::Direction;
use crate::model::{Field, Hook, Match, Rule, Statement, Verdict};
use crate::name::{ChainName, Family, SetName, TableName};
use crate::phrases::Phrases as _;
use crate::read::{Item, Line, Lines, Object, Unreadable};

/// Why a script is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused before nft saw it: line {line}: {why}")]
pub struct Refused {
    /// The line, from 1.
    pub line: usize,
    /// What is not allowed there.
    pub why: Why,
}

/// What a script must not say or cost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It is not what the compiler can say.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// More of something than a node is asked to bear.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much may be.
        limit: usize,
    },
    /// A verdict that leads back, or that comes back from where it must not.
    #[error("{from} must not lead to {to}")]
    Way {
        /// Where a packet comes from: a chain or a map.
        from: String,
        /// The verdict or map that leads on.
        to: String,
    },
    /// A rule where packets of the node itself pass, which looks at them all.
    #[error(
        "a rule of {0} has to ask for a set of interfaces, or for ports of tunnels of services: packets of the node pass there"
    )]
    Entering(ChainName),
    /// A rule that takes down or shows what passes somewhere else than where it is dropped.
    #[error("{0} takes down or shows what is dropped elsewhere")]
    Drops(ChainName),
    /// A rule is added to a chain that was not flushed just before.
    #[error("rules are added to {0} only behind its flush")]
    NotFlushed(String),
}

/// What the tables that stand cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Costs {
    chains: HashMap<ChainName, ChainCost>,
    /// Sets and maps, with how many elements they have at most.
    objects: HashMap<Object, usize>,
    /// Revisions that have a marker, and those that have a chain.
    marked: HashSet<Revision>,
    past: HashSet<Revision>,
    /// Sets without a name.
    unnamed: usize,
    elements: usize,
}

/// How much of everything tables have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Chains.
    pub chains: usize,
    /// Rules.
    pub rules: usize,
    /// Sets and maps, those without a name among them.
    pub sets: usize,
    /// Elements of sets and maps.
    pub elements: usize,
}

/// A chain's rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ChainCost {
    rules: usize,
    /// Sets without a name in them.
    unnamed: usize,
}

impl Costs {
    /// What stands once a script was committed on this.
    ///
    /// # Errors
    /// The first line that the compiler cannot have said, or by which something costs too much.
    pub fn after(&self, script: &[u8]) -> Result<Self, Refused> {
        // On a copy: if a line is refused, what stands is as it was.
        let mut count = Count { costs: self.clone(), ..Count::default() };
        let (mut lines, mut line, mut left) = (Lines::of(script), 0, script.len());
        while let Some(read) = lines.next() {
            line += 1;
            count.step.bytes += left - lines.left();
            left = lines.left();
            read.map_err(Why::from).and_then(|it| count.add(it)).map_err(|why| Refused { line, why })?;
        }
        Ok(count.costs)
    }

    /// Returns true if the table has this set.
    #[must_use]
    pub fn has(&self, set: &SetName) -> bool {
        self.objects.contains_key(&Object::Set(set.clone()))
    }

    /// How much there is of everything but markers.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            chains: self.chains.len(),
            rules: self.chains.values().map(|chain| chain.rules).sum(),
            sets: self.objects.len() + self.unnamed,
            elements: self.elements,
        }
    }

    /// A table is gone with all that is in it.
    fn delete_table(&mut self, table: TableName) {
        self.chains.retain(|name, _| name.table() != table);
        self.objects.retain(|object, _| object.table() != table);
        // Markers are in this table alone.
        if table == TableName::Inet {
            self.marked.clear();
            self.past.clear();
        }
        // Summed anew, as all that is left has just been looked at.
        self.unnamed = self.chains.values().map(|chain| chain.unnamed).sum();
        self.elements = self.objects.values().sum();
    }

    /// A chain loses its rules.
    fn flush(&mut self, name: &ChainName) {
        if let Some(chain) = self.chains.get_mut(name) {
            self.unnamed = self.unnamed.saturating_sub(chain.unnamed);
            *chain = ChainCost::default();
        }
    }

    fn within_limits(&self) -> Result<(), Why> {
        let sets = self.objects.len() + self.unnamed;
        at_most(sets, SETS_PER_TABLE, "sets and maps in the table")?;
        at_most(self.elements, ELEMENTS_PER_TABLE, "elements in the table")?;
        at_most(self.chains.len(), CHAINS_PER_TABLE, "chains in the table")?;
        at_most(self.marked.len().max(self.past.len()), MARKERS_PER_TABLE, "markers in the table")
    }
}

fn at_most(count: usize, limit: usize, what: &'static str) -> Result<(), Why> {
    if count <= limit { Ok(()) } else { Err(Why::TooMany { what, limit }) }
}

/// The count of a script, so far.
#[derive(Default)]
struct Count {
    costs: Costs,
    /// The chain whose rules, or the object whose elements stand here.
    chain: Option<ChainName>,
    object: Option<Object>,
    /// The chain that was flushed last, and the marker chain that was created last: rules may follow.
    flushed: Option<ChainName>,
    created: Option<Revision>,
    /// The marker chain whose rule may be repeated once by a later step, to which it says that an earlier one was taken.
    leaving: Option<Revision>,
    steps: usize,
    step: Step,
}

/// What one transaction takes.
#[derive(Default)]
struct Step {
    bytes: usize,
    elements: usize,
    objects: usize,
}

impl Count {
    /// Counts a line.
    fn add(&mut self, line: Line) -> Result<(), Why> {
        let costs = &mut self.costs;
        // Both hold for the very next line: whatever stands in between takes them back.
        let (mut flushed, mut created) = (None, None);
        self.step.objects += 1;
        match line {
            Line::Step => {
                self.steps += 1;
                // The limits of a transaction begin anew, those of the table do not.
                self.step = Step::default();
            }
            Line::DeleteTable(table) => costs.delete_table(table),
            Line::Object(object) => {
                // What packets may add to a set is there from its beginning: nobody asks before they do.
                let size = object.kind().size();
                let is_new = !costs.objects.contains_key(&object);
                costs.objects.entry(object.clone()).or_insert(size);
                costs.elements += if is_new { size } else { 0 };
                self.object = Some(object);
            }
            Line::Items(items, _) => self.items(&items)?,
            Line::Chain(name) => {
                costs.chains.entry(name.clone()).or_default();
                self.chain = Some(name);
            }
            Line::Rule(rule) => {
                // The reader lets rules stand in the blocks of chains alone, so there is one.
                if let Some(name) = self.chain.clone() {
                    self.rule(&name, &rule)?;
                }
            }
            Line::DeleteElements(object, items) => {
                self.step.elements += items.len();
                if let Some(count) = costs.objects.get_mut(&object) {
                    // A hostile script may delete what is not there. nft refuses it, and the count must not wrap before
                    // that.
                    let gone = items.len().min(*count);
                    *count -= gone;
                    costs.elements -= gone;
                }
            }
            Line::FlushChain(name) => {
                costs.flush(&name);
                flushed = Some(name);
            }
            Line::AddRule(name, rule) => {
                if self.flushed.as_ref() != Some(&name) {
                    return Err(Why::NotFlushed(name.to_string()));
                }
                self.rule(&name, &rule)?;
                flushed = Some(name);
            }
            Line::DeleteChain(name) => {
                // With its rules go their sets without a name.
                costs.flush(&name);
                costs.chains.remove(&name);
            }
            Line::DeleteObject(object) => {
                // This cannot wrap: all that is counted there are elements of some object.
                costs.elements -= costs.objects.remove(&object).unwrap_or_default();
            }
            Line::Mark(revision) => _ = costs.marked.insert(revision),
            Line::Unmark(revision) => _ = costs.marked.remove(&revision),
            Line::CreatePast(revision) => {
                costs.past.insert(revision.clone());
                self.leaving = Some(revision.clone());
                created = Some(revision);
            }
            Line::PastRule(revision) => {
                let is_new = self.created.as_ref() == Some(&revision);
                if !is_new && (self.steps == 0 || self.leaving.take_if(|left| *left == revision).is_none()) {
                    return Err(Why::NotFlushed(revision.to_string()));
                }
            }
            Line::AddPast(revision) => _ = costs.past.insert(revision),
            Line::DeletePast(revision) => _ = costs.past.remove(&revision),
            Line::AddTable(_)
            | Line::Table(_)
            | Line::TypeOf(_)
            | Line::Property(_)
            | Line::Elements
            | Line::EndElements
            | Line::Hook(_)
            | Line::EndObject
            | Line::EndTable => self.step.objects -= 1,
        }
        (self.flushed, self.created) = (flushed, created);
        // After each line, so that a hostile script is given up where it exceeds, and not once it has been counted.
        self.within_limits()
    }

    fn items(&mut self, items: &[Item]) -> Result<(), Why> {
        // The reader lets elements stand in sets and maps alone, so there is one.
        let Some(object) = &self.object else { return Ok(()) };
        // A line of elements is no object: its elements are counted, and the set where it begins.
        self.step.objects -= 1;
        self.step.elements += items.len();
        self.costs.elements += items.len();
        *self.costs.objects.entry(object.clone()).or_default() += items.len();
        let Object::Map(map) = object else { return Ok(()) };
        for item in items {
            if let Item::Mapped(_, Verdict::Goto(to)) = item
                && to.rank() > map.rank()
                && to.table() == object.table()
            {
                continue;
            }
            // It leads back, or is a jump, from which a packet comes back.
            if let Item::Mapped(_, verdict @ (Verdict::Goto(_) | Verdict::Jump(_))) = item {
                return Err(Why::Way { from: map.to_string(), to: verdict.to_string() });
            }
        }
        Ok(())
    }

    /// A rule of a chain.
    fn rule(&mut self, name: &ChainName, rule: &Rule) -> Result<(), Why> {
        let allowed = match &rule.statement {
            Statement::Map(_, map) => map.rank() > name.rank(),
            Statement::Verdict(verdict) | Statement::Counted(verdict) => match verdict {
                Verdict::Goto(to) => to.rank() > name.rank() && to.table() == name.table(),
                Verdict::Jump(to) => name.may_jump_to(to),
                Verdict::Accept | Verdict::Drop | Verdict::Return => true,
            },
            Statement::Reset | Statement::Keep(_) | Statement::KeepAndDrop(_) | Statement::Show(_) => true,
        };
        if !allowed {
            let from = name.to_string();
            return Err(Why::Way { from, to: statement(&rule.statement) });
        }
        // Packets of the node itself pass these hooks, and a rule that looks at all of them could cut it off.
        let is_of_all =
            matches!(name.hook(), Some(Hook::Entering | Hook::Translated | Hook::FromPorts | Hook::ToPorts));
        if is_of_all && !leaves_node_alone(rule) {
            return Err(Why::Entering(name.clone()));
        }
        if !is_about_own_drops(name, rule) {
            return Err(Why::Drops(name.clone()));
        }
        // Each is an element to the kernel, like those of sets that have a name.
        for condition in &rule.matches {
            if let Match::TunnelPorts(ports) = condition {
                at_most(ports.len(), TUNNEL_PORTS_PER_RULE, "ports of tunnels in a rule")?;
                self.step.elements += ports.len();
            }
        }
        let unnamed = rule.matches.iter().filter(|condition| has_unnamed_set(condition)).count();
        // A chain that stands keeps its rules where it is declared again: these come on top.
        let chain = self.costs.chains.entry(name.clone()).or_default();
        chain.rules += 1;
        chain.unnamed += unnamed;
        self.costs.unnamed += unnamed;
        at_most(chain.rules, name.rules_limit(), "rules in a chain of this kind")
    }

    fn within_limits(&self) -> Result<(), Why> {
        at_most(self.step.elements, ELEMENTS_PER_STEP, "elements in a step")?;
        at_most(self.step.objects, OBJECTS_PER_STEP, "statements in a step")?;
        at_most(self.step.bytes, BYTES_PER_STEP, "bytes in a step")?;
        at_most(self.steps, STEPS_PER_SCRIPT, "steps")?;
        self.costs.within_limits()
    }
}

fn statement(statement: &Statement) -> String {
    Rule { matches: smallvec::SmallVec::new(), statement: statement.clone() }.to_string()
}

/// Returns true if a rule looks only at what passes some interfaces, or at datagrams to services.
fn leaves_node_alone(rule: &Rule) -> bool {
    // The key begins with the interface, so what passes another one cannot be in the set.
    let of_interfaces = |condition: &Match| match condition {
        Match::In(fields, _) => matches!(fields.first(), Some(Field::Inbound | Field::Outbound)),
        _ => false,
    };
    let is_of_service = matches!(rule.matches.as_slice(), [Match::TunnelPorts(_), Match::Translated]);
    is_of_service || rule.matches.iter().any(of_interfaces)
}

/// Returns true if a rule takes down and shows nothing, or what this chain drops: so nobody is shown what passes.
fn is_about_own_drops(name: &ChainName, rule: &Rule) -> bool {
    let is_of = |direction: Direction, of: Option<Family>| match name {
        ChainName::Denied(own) => *own == direction,
        ChainName::Unkept(own, family) | ChainName::Portless(own, family) => {
            *own == direction && of.is_none_or(|of| of == *family)
        }
        _ => false,
    };
    let is_condition_of = |condition: &Match| match condition {
        Match::NotKept(kept) => is_of(kept.direction, Some(kept.family)),
        Match::OverBound(direction, family) => is_of(*direction, Some(*family)),
        _ => true,
    };
    let is_statement_of = match &rule.statement {
        Statement::Keep(kept) | Statement::KeepAndDrop(kept) => is_of(kept.direction, Some(kept.family)),
        Statement::Show(direction) => is_of(*direction, None),
        Statement::Verdict(_) | Statement::Counted(_) | Statement::Reset | Statement::Map(..) => true,
    };
    is_statement_of && rule.matches.iter().all(is_condition_of)
}

/// Returns true if nft makes a set of this condition.
fn has_unnamed_set(condition: &Match) -> bool {
    // nft makes a set without a name of whatever stands in braces.
    matches!(condition, Match::TunnelPorts(_))
        || condition.phrase().is_some_and(|phrase| phrase.contains('{'))
}
