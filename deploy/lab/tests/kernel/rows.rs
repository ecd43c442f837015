//! Tables of policies: each row says in words what it shows, and is tried on every pair of members.

use flock_lab::Protocol;

use crate::cluster::Cluster;
use crate::flow::{Flow, SERVICES};
use crate::objects::Objects;

/// Wrong cells that a failure shows.
const SHOWN: usize = 20;

/// Policies, and which flows pass under them.
pub(crate) struct Row {
    /// What it shows.
    pub(crate) what: &'static str,
    /// Namespace and `spec` of each policy.
    pub(crate) policies: &'static [(&'static str, &'static str)],
    /// Which flows between different pods pass; everything else is dropped.
    pub(crate) allowed: fn(&Flow) -> bool,
}

/// Tries all rows over the usual services and fails with everything that is wrong in any of them.
pub(crate) fn check(tag: &str, rows: &[Row]) {
    check_services(tag, &SERVICES, rows);
}

/// As [`check`], over services of its own.
pub(crate) fn check_services(tag: &str, services: &[(Protocol, u16)], rows: &[Row]) {
    let Some(cluster) = Cluster::of_all_members(tag) else {
        return;
    };
    let mut wrong = Vec::new();
    for row in rows {
        cluster.enforce(&Objects::of_all_members().with_policies(row.policies));
        let cells = cluster.wrong(services, row.allowed);
        wrong.extend(cells.into_iter().map(|cell| format!("{}: {cell}", row.what)));
    }
    let shown = &wrong[..wrong.len().min(SHOWN)];
    assert!(wrong.is_empty(), "{} cells are wrong, such as\n{}", wrong.len(), shown.join("\n"));
}
