//! `reach`: who may reach an end, or what it may reach, and on which ports.
//!
//! ```text
//! asked end ─▶ places ──────────────────┐
//!                                       ├─▶ Answers: ports by place and class ─▶ rows, by workload
//! pods, nodes, blocks ─▶ Others: classes ┘
//! ```
//!
//! Pods of a node's network are their node, pods that have finished are nobody, and an end is no other end of its own. Where
//! no pod is at either end, no policy applies, and there is no row.

mod answers;
mod because;
mod grouped;
mod matrix;
mod others;
mod regions;
mod rows;
mod table;

use flock_compiler_core::object::Direction;
use flock_compiler_core::port::{PortRange, Protocol};
use flock_proto::v1;
use flock_shared::NamespaceName;

use self::others::Wanted;
use self::table::Table;
use crate::ports::Ports;
use crate::{AskError, Cluster, Sight, ends};

pub use matrix::matrix;

/// Who may reach an end, or what it may reach.
///
/// Rows are by workload where its pods agree; where these are too many, by namespace, and else by what passes. Where the
/// addresses of an end differ there are rows for each family. Of a namespace that the asker may not see there is one row,
/// with what passes to or from any of its pods.
///
/// # Errors
/// If it cannot be asked like this, there is no such end, the asker may not see it, or the answer is too large.
pub fn reach(
    cluster: &Cluster<'_>,
    request: &v1::ReachRequest,
    sight: &Sight,
) -> Result<Vec<v1::ReachRow>, AskError> {
    let direction = match request.direction() {
        v1::Direction::Ingress => Direction::Ingress,
        v1::Direction::Egress => Direction::Egress,
        v1::Direction::Unspecified => {
            return Err(AskError::Bad("a direction is missing: expected ingress or egress".to_owned()));
        }
    };
    let port = request.port.as_ref().map(port).transpose()?;
    let judge = cluster.judge_of_many();
    sight.may_ask(&judge, [request.end.as_ref(), None])?;
    let asked = ends(cluster, &judge, request.end.as_ref(), sight)?;
    let wanted = Wanted { nodes: true, without: None, pods: true };
    let table = Table::of(cluster, &judge, request.end.as_ref(), &asked, direction, wanted)?;
    rows::rows(&table, sight, &TableQuery { ports: port.into_iter().collect(), layout: Layout::Reach })
}

/// What is asked of a table.
#[derive(Debug)]
pub(super) struct TableQuery {
    /// Only these; none: all.
    pub(super) ports: Vec<PortFilter>,
    pub(super) layout: Layout,
}

/// Which rows there are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Of what passes, with reasons.
    Reach,
    /// Of every cell within a namespace, or all; other namespaces are one end each.
    Matrix(Option<NamespaceName>),
}

/// A port that is asked about.
#[derive(Debug, Clone)]
pub(super) enum PortFilter {
    /// Protocols without ports.
    Other,
    Number(Protocol, u16),
}

impl PortFilter {
    /// What it comes to at an end; of a Service, the port that it leads to there.
    pub(super) fn ports(&self, target: Option<u16>) -> Ports {
        match self {
            Self::Other => Ports::without_ports(),
            Self::Number(protocol, number) => {
                Ports::union_of([PortRange::single(*protocol, target.unwrap_or(*number))])
            }
        }
    }
}

/// Reads a port.
pub(super) fn port(asked: &v1::Port) -> Result<PortFilter, AskError> {
    if asked.protocol == "other" {
        return Ok(PortFilter::Other);
    }
    let protocol = Protocol::ALL.into_iter().find(|one| one.as_str() == asked.protocol);
    let number = u16::try_from(asked.number).ok().filter(|number| *number != 0);
    match (protocol, number) {
        (Some(protocol), Some(number)) => Ok(PortFilter::Number(protocol, number)),
        _ => Err(AskError::Bad(format!(
            "port {}/{}: expected 1 to 65535 of TCP, UDP or SCTP, or `other`",
            asked.number, asked.protocol
        ))),
    }
}
