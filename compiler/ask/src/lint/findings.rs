//! Findings as they are collected: bounded, without what is silenced and what the asker may not see.

use std::collections::BTreeMap;

use flock_compiler_core::Problem;
use flock_compiler_core::object::{Direction, Policy};
use flock_proto::v1;
use flock_shared::NamespaceName;

use super::code::Lint;
use crate::{Cluster, Sight};

/// So many findings of a code are told of a namespace, and how many more there are.
const TOLD: usize = 100;

/// What was found of an object.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Path of the field; empty: the whole object.
    pub field: String,
    pub message: String,
    /// What may have been meant; empty: nothing suggests itself.
    pub suggestion: String,
}

/// Findings so far.
#[derive(Debug)]
pub(super) struct Findings<'w> {
    cluster: &'w Cluster<'w>,
    sight: &'w Sight,
    all: Vec<v1::Finding>,
    /// How many there are of each code in each namespace.
    counts: BTreeMap<(NamespaceName, Lint), usize>,
}

impl<'w> Findings<'w> {
    pub(super) const fn new(cluster: &'w Cluster<'w>, sight: &'w Sight) -> Self {
        Self { cluster, sight, all: Vec::new(), counts: BTreeMap::new() }
    }

    /// Adds a finding about a policy.
    pub(super) fn of_policy(&mut self, code: Lint, policy: &Policy, found: Found) {
        // Before it is counted: it is not among those of which only the number is told.
        if self.is_silenced(code, policy) {
            return;
        }
        let object = format!("NetworkPolicy {}", policy.key);
        let origin = self.origin(&object);
        self.add(code, object, &policy.key.namespace, origin, found);
    }

    /// Adds a finding about an object of a namespace that is no policy, and says so: "Pod shop/web".
    pub(super) fn of_object(&mut self, code: Lint, object: String, namespace: &NamespaceName, found: Found) {
        if !self.is_silenced_in(code, namespace) {
            let origin = self.origin(&object);
            self.add(code, object, namespace, origin, found);
        }
    }

    /// The file that an object is from, `kubernetes` without files, and empty if no file has it.
    fn origin(&self, object: &str) -> String {
        match self.cluster.origins {
            None => "kubernetes".to_owned(),
            Some(origins) => origins.get(object).map_or(String::new(), ToString::to_string),
        }
    }

    /// Adds what translation reports.
    pub(super) fn of_problem(&mut self, problem: &Problem) {
        let Problem { object, namespace, origin, field, message, consequence } = problem;
        let origin = origin.as_deref().unwrap_or_default().to_owned();
        let found = Found {
            field: field.clone(),
            message: format!("{message}; {consequence}"),
            suggestion: String::new(),
        };
        match namespace {
            Some(namespace) => self.add(Lint::FLK030, object.clone(), namespace, origin, found),
            // A node, say, is in no namespace that the asker could see.
            None if self.sight.sees_everything() => {
                self.all.push(finding(Lint::FLK030, object.clone(), String::new(), origin, found));
            }
            None => {}
        }
    }

    /// Adds that a namespace's policies cost too much to be looked at wholly.
    pub(super) fn not_all_looked_at(&mut self, namespace: &NamespaceName) {
        let message = "its policies are too many to be looked at by all lints; some findings may be missing";
        let found = Found { message: message.to_owned(), ..Found::default() };
        let object = format!("Namespace {namespace}");
        let origin = self.origin(&object);
        self.add(Lint::FLK030, object, namespace, origin, found);
    }

    fn add(&mut self, code: Lint, object: String, namespace: &NamespaceName, origin: String, found: Found) {
        if !self.sight.sees(namespace) {
            return;
        }
        let count = self.counts.entry((namespace.clone(), code)).or_default();
        *count += 1;
        if *count <= TOLD {
            self.all.push(finding(code, object, namespace.to_string(), origin, found));
        }
    }

    /// Returns true if a policy or its namespace says that this is not to be told.
    pub(super) fn is_silenced(&self, code: Lint, policy: &Policy) -> bool {
        policy.meta.ignored_lints.contains(&code.code()) || self.is_silenced_in(code, &policy.key.namespace)
    }

    fn is_silenced_in(&self, code: Lint, namespace: &NamespaceName) -> bool {
        let object = self.cluster.world.namespaces().get(namespace);
        object.is_some_and(|object| object.ignored_lints.contains(&code.code()))
    }

    /// All of them: the worst first, then by namespace, object and code; of one object in the order of its fields.
    pub(super) fn into_vec(mut self) -> Vec<v1::Finding> {
        for ((namespace, code), count) in std::mem::take(&mut self.counts) {
            let Some(more) = count.checked_sub(TOLD).filter(|more| *more > 0) else { continue };
            let found = Found {
                message: format!("{more} more of its objects: {}", code.title()),
                ..Found::default()
            };
            let (object, namespace) = (format!("Namespace {namespace}"), namespace.to_string());
            let origin = self.origin(&object);
            self.all.push(finding(code, object, namespace, origin, found));
        }
        // Stable, so that findings of one object and code stay in the order of its fields.
        self.all.sort_by(|a, b| {
            let key = |it: &v1::Finding| std::cmp::Reverse(it.severity);
            (key(a), &a.namespace, &a.object, &a.code).cmp(&(key(b), &b.namespace, &b.object, &b.code))
        });
        self.all
    }
}

fn finding(code: Lint, object: String, namespace: String, origin: String, found: Found) -> v1::Finding {
    let Found { field, message, suggestion } = found;
    v1::Finding {
        code: code.as_str().to_owned(),
        severity: code.severity().into(),
        object,
        namespace,
        field,
        message,
        suggestion,
        origin,
        since: None,
    }
}

/// Paths of fields, as the API has them.
pub(super) mod path {
    use super::Direction;

    /// `spec.ingress[0]`
    pub(in super::super) fn rule(direction: Direction, rule: usize) -> String {
        format!("spec.{direction}[{rule}]")
    }

    /// `spec.ingress[0].from[1]`
    pub(in super::super) fn peer(direction: Direction, rule: usize, peer: usize) -> String {
        let peers = match direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        };
        format!("spec.{direction}[{rule}].{peers}[{peer}]")
    }

    /// `spec.ingress[0].ports[1]`
    pub(in super::super) fn port(direction: Direction, rule: usize, port: usize) -> String {
        format!("spec.{direction}[{rule}].ports[{port}]")
    }
}
