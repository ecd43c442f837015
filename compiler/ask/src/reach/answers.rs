//! What passes between each place that is asked about and each class of other ends.

use std::collections::HashMap;

use flock_compiler_core::judge::{Allowed, Carries, Flow, Judge, Place};
use flock_compiler_core::object::Direction;
use flock_shared::NodeName;

use super::others::{self, EndClass, OPEN, Others};
use crate::ports::Ports;
use crate::{AskError, At};

/// Steps of an answer: a peer or a port of a rule that is looked at, or a class that an answer is looked up for.
const MOST: usize = 60_000_000;
/// So many answers are kept: places that differ times classes.
const ANSWERS: usize = 16_000_000;

/// A set of ports by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Answer(u32);

/// Nothing passes.
pub(super) const NOTHING: Answer = Answer(0);

/// Sets of ports, each once.
#[derive(Debug)]
pub(super) struct Sets {
    numbers: HashMap<Ports, Answer>,
    all: Vec<Ports>,
    both: HashMap<(Answer, Answer), Answer>,
}

impl Sets {
    fn new() -> Self {
        let mut sets = Self { numbers: HashMap::new(), all: Vec::new(), both: HashMap::new() };
        // `NOTHING` is the number of the empty set, so that has to be the first.
        sets.number(Ports::default());
        sets
    }

    pub(super) fn number(&mut self, ports: Ports) -> Answer {
        let next = Answer(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        if let Some(known) = self.numbers.get(&ports) {
            return *known;
        }
        self.all.push(ports.clone());
        self.numbers.insert(ports, next);
        next
    }

    pub(super) fn ports(&self, answer: Answer) -> Option<&Ports> {
        self.all.get(answer.0 as usize)
    }

    fn and(&mut self, a: Answer, b: Answer) -> Answer {
        if a == b {
            return a;
        }
        let key = (a.min(b), a.max(b));
        if let Some(known) = self.both.get(&key) {
            return *known;
        }
        // Answers come from `number` alone, so both are there.
        let (Some(one), Some(other)) = (self.ports(a), self.ports(b)) else { return NOTHING };
        let both = one.and(other);
        let both = self.number(both);
        self.both.insert(key, both);
        both
    }
}

/// What passes.
pub(super) struct Answers<'a, 'w> {
    judge: &'a Judge<'w>,
    /// That of the asked ends.
    direction: Direction,
    pub(super) sets: Sets,
    /// By place that is asked about, then by class; `None`: no packet can pass, or they are the same end.
    by_class: Vec<Vec<Option<Answer>>>,
    /// By place: what passes between a pod and its own node.
    own_node: Vec<Option<Answer>>,
    left: usize,
}

impl<'a, 'w> Answers<'a, 'w> {
    /// Judges the places against all classes.
    pub(super) fn of(
        judge: &'a Judge<'w>,
        direction: Direction,
        places: &[&At],
        others: &Others<'w>,
    ) -> Result<Self, AskError> {
        let mut answers = Self {
            judge,
            direction,
            sets: Sets::new(),
            by_class: Vec::new(),
            own_node: Vec::new(),
            left: MOST,
        };
        // Before anything is judged: this bounds what is kept, `spend` how long it takes.
        if places.len().saturating_mul(others.classes.len()) > ANSWERS {
            return Err(too_large());
        }
        let everything = answers.sets.number(Ports::everything());
        for at in places {
            let isolating = others::isolating(judge, at.place.owners.iter().cloned(), direction);
            let weight = 1 + others::weight(&isolating, direction);
            // Made anew for each place: what is kept in it is what this place's policies and pods of a class say of
            // each other.
            let mut asked = AskedPlace {
                place: &at.place,
                weight,
                everything,
                seen: HashMap::new(),
                own: HashMap::new(),
            };
            let mut row = Vec::with_capacity(others.classes.len());
            for class in &others.classes {
                row.push(answers.class(&mut asked, class, others)?);
            }
            answers.by_class.push(row);
            let own = match own_node(&at.place) {
                Some(node) => answers.own_node(&mut asked, node)?,
                None => None,
            };
            answers.own_node.push(own);
        }
        Ok(answers)
    }

    pub(super) fn at(&self, place: usize, class: u32) -> Option<Answer> {
        *self.by_class.get(place)?.get(class as usize)?
    }

    pub(super) fn of_own_node(&self, place: usize) -> Option<Answer> {
        *self.own_node.get(place)?
    }

    fn spend(&mut self, steps: usize) -> Result<(), AskError> {
        self.left = self.left.checked_sub(steps).ok_or_else(too_large)?;
        Ok(())
    }

    fn class(
        &mut self,
        asked: &mut AskedPlace<'_>,
        class: &EndClass,
        others: &Others<'_>,
    ) -> Result<Option<Answer>, AskError> {
        self.spend(1)?;
        // Where no pod is at either end nothing is judged.
        if !class.is_pod && asked.place.owners.is_empty() {
            return Ok(None);
        }
        // An address that is not known may be of either family.
        let fits =
            asked.place.address.is_none_or(|own| class.is_v4.is_none_or(|is_v4| is_v4 == own.is_ipv4()));
        let Some(other) = another(asked.place, class).filter(|_| fits) else { return Ok(None) };
        let flow = flow(self.direction, asked.place, other);
        // Classes that the asked end's policies do not tell apart have one answer from them.
        let of_asked = match asked.seen.get(&class.seen) {
            Some(known) => *known,
            None => {
                self.spend(asked.weight)?;
                let found = self.allowed(self.direction, &flow);
                asked.seen.insert(class.seen, found);
                found
            }
        };
        // A node is no other to its own pods, and addresses that are nobody's differ.
        let is_plain = !other.owners.is_empty() && asked.place.host.is_none();
        let known = asked.own.get(&class.own).filter(|_| is_plain);
        let of_other = match known {
            // What one end closes, the other need not be asked about.
            _ if of_asked == NOTHING => NOTHING,
            _ if is_plain && class.own == OPEN => asked.everything,
            Some(known) => *known,
            None => {
                self.spend(1 + others.weights.get(class.own as usize).copied().unwrap_or_default())?;
                let found = self.allowed(opposite(self.direction), &flow);
                if is_plain {
                    asked.own.insert(class.own, found);
                }
                found
            }
        };
        Ok(Some(self.sets.and(of_asked, of_other)))
    }

    fn own_node(&mut self, asked: &mut AskedPlace<'_>, node: &NodeName) -> Result<Option<Answer>, AskError> {
        let Some(object) = self.judge.world().nodes().get(node) else { return Ok(None) };
        let fits = |address: &&std::net::IpAddr| {
            asked.place.address.is_none_or(|own| own.is_ipv4() == address.is_ipv4())
        };
        let address = object.addresses.iter().find(fits).copied();
        // The node has addresses and none of this family: no packet can pass. Without any they are only not known.
        if address.is_none() && !object.addresses.is_empty() {
            return Ok(None);
        }
        self.spend(asked.weight)?;
        let other = Place { address, owners: Vec::new(), host: Some(node.clone()) };
        let flow = flow(self.direction, asked.place, &other);
        let [one, two] = Direction::ALL.map(|direction| self.allowed(direction, &flow));
        Ok(Some(self.sets.and(one, two)))
    }

    fn allowed(&mut self, direction: Direction, flow: &Flow) -> Answer {
        let mut ports = Ports::everything();
        // One for each pair of owners that does not allow everything; what passes is what all of them allow.
        for allowed in self.judge.allowed(direction, flow) {
            if let Allowed::Ports(ranges) = allowed {
                ports = ports.and(&Ports::union_of(ranges));
            }
        }
        self.sets.number(ports)
    }
}

/// A place that is asked about.
struct AskedPlace<'p> {
    place: &'p Place,
    weight: usize,
    everything: Answer,
    seen: HashMap<u32, Answer>,
    own: HashMap<u32, Answer>,
}

fn too_large() -> AskError {
    AskError::TooLarge(
        "to judge all of this would take too long: ask about one pod, one port (`:PORT`) or one namespace (`-n`)".to_owned(),
    )
}

/// The node that all owners of a place run on.
pub(super) fn own_node(place: &Place) -> Option<&NodeName> {
    let node = place.owners.first()?.node.as_ref()?;
    place.owners.iter().all(|pod| pod.node.as_ref() == Some(node)).then_some(node)
}

/// A place of a class that is another end than the asked one.
pub(super) fn another<'c>(asked: &Place, class: &'c EndClass) -> Option<&'c Place> {
    // The second place of a class is there for this: the first may be the asked end itself.
    class.places.iter().find(|other| !is_same(asked, other))
}

/// Returns true if two places are one end, or a pod and its own node.
fn is_same(asked: &Place, other: &Place) -> bool {
    let is_one_pod = matches!((&*asked.owners, &*other.owners), ([a], [b]) if a.is_same_pod(b));
    let is_own_node = other.host.is_some() && own_node(asked) == other.host.as_ref();
    is_one_pod || is_own_node || (asked.address.is_some() && asked.address == other.address)
}

pub(super) const fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    }
}

/// What is sent between an asked place and another one.
pub(super) fn flow(direction: Direction, asked: &Place, other: &Place) -> Flow {
    let (asked, other) = (asked.clone(), other.clone());
    let (source, destination) = match direction {
        Direction::Ingress => (other, asked),
        Direction::Egress => (asked, other),
    };
    // `Judge::allowed` tells what passes whatever is carried; who asks for a verdict sets it.
    Flow { source, destination, carries: Carries::Other }
}
