//! Pods that agree: of the same part of the cluster, by the same addresses, on the same ports.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use flock_compiler_core::object::{Direction, Pod, Workload};
use flock_shared::ObjectName;

use super::answers::Answer;
use super::table::Between;

/// Where there are more workloads, rows are by namespace; where there are more of those, by what passes.
pub(super) const ROWS: usize = 1_000;

/// Which addresses a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Way {
    Any,
    Family {
        is_v4: bool,
    },
    /// Of the asked end and of the other one, as far as they are known or there are several.
    Addresses(Option<IpAddr>, Option<IpAddr>),
}

impl Way {
    /// Returns true if addresses of this family may be meant.
    pub(super) fn is_of(self, is_v4: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Family { is_v4: own } => own == is_v4,
            // Packets pass within one family, so either address tells it.
            Self::Addresses(asked, other) => asked.or(other).is_none_or(|address| address.is_ipv4() == is_v4),
        }
    }

    /// Words of a row, with what they are about before them.
    pub(super) fn said(self, direction: Direction, words: String) -> String {
        let between = match (self, direction) {
            (Self::Any, _) | (Self::Addresses(None, None), _) => return words,
            (Self::Family { is_v4: true }, _) => "over IPv4".to_owned(),
            (Self::Family { is_v4: false }, _) => "over IPv6".to_owned(),
            (Self::Addresses(Some(asked), Some(other)), Direction::Egress) => {
                format!("from {asked} to {other}")
            }
            (Self::Addresses(Some(asked), Some(other)), Direction::Ingress) => {
                format!("from {other} to {asked}")
            }
            (Self::Addresses(Some(source), None), Direction::Egress)
            | (Self::Addresses(None, Some(source)), Direction::Ingress) => format!("from {source}"),
            (Self::Addresses(Some(destination), None), Direction::Ingress)
            | (Self::Addresses(None, Some(destination)), Direction::Egress) => format!("to {destination}"),
        };
        format!("{between}: {words}")
    }
}

/// Pods that agree, by what they are part of.
pub(super) type PodsBy<'w, K> = BTreeMap<(K, Way, Answer), Pods<'w>>;

/// Pods that agree.
pub(super) struct Pods<'w> {
    pub(super) first: &'w Arc<Pod>,
    /// The namespace of the last one, by position.
    last: usize,
    pub(super) between: Between,
    pub(super) pods: u32,
    pub(super) namespaces: u32,
}

/// What a row is about within a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part<'w> {
    Workload(&'w Workload),
    Pod(&'w ObjectName),
}

impl<'w> Part<'w> {
    pub(super) fn of(pod: &'w Pod) -> Self {
        pod.workload().map_or(Self::Pod(&pod.key.name), |workload| Self::Workload(workload))
    }
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(workload) => workload.fmt(f),
            Self::Pod(name) => name.fmt(f),
        }
    }
}

/// How many of these pods each part has. Those of one part mostly follow each other: each such run is looked up once.
pub(super) fn totals<'w>(pods: &[&'w Arc<Pod>]) -> BTreeMap<Part<'w>, usize> {
    let mut totals = BTreeMap::new();
    for run in pods.chunk_by(|a, b| Part::of(a) == Part::of(b)) {
        if let [first, ..] = run {
            *totals.entry(Part::of(first)).or_default() += run.len();
        }
    }
    totals
}

/// One pod, and what passes.
pub(super) struct Item<'w> {
    pub(super) pod: &'w Arc<Pod>,
    /// Its namespace, by position. There may be very many pods, so that none is looked at that need not be.
    pub(super) namespace: usize,
    pub(super) way: Way,
    pub(super) answer: Answer,
    pub(super) between: Between,
}

/// Pods that agree, by what they are part of; `None`: there are too many of these. Items are in order of namespaces, and those
/// of one part mostly follow each other: each such run is looked up once.
pub(super) fn collect<'w, K: Ord>(items: &[Item<'w>], key: impl Fn(&Item<'w>) -> K) -> Option<PodsBy<'w, K>> {
    let mut found: PodsBy<'w, K> = BTreeMap::new();
    let is_run = |a: &Item<'w>, b: &Item<'w>| (a.way, a.answer) == (b.way, b.answer) && key(a) == key(b);
    for run in items.chunk_by(is_run) {
        let [first, ..] = run else { continue };
        let pods = found.entry((key(first), first.way, first.answer)).or_insert_with(|| Pods {
            first: first.pod,
            last: first.namespace,
            between: first.between,
            pods: 0,
            namespaces: 1,
        });
        for item in run {
            pods.pods += 1;
            // Items are in order of namespaces, so each is counted once if it is compared with the last one alone.
            pods.namespaces += u32::from(pods.last != item.namespace);
            pods.last = item.namespace;
        }
        // The rest need not be looked at: the caller goes over to larger parts, or refuses.
        if found.len() > ROWS {
            return None;
        }
    }
    Some(found)
}
