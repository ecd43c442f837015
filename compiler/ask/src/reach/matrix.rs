//! `matrix`: what may reach what, by workload: a table of the pods as sources, and one of them as destinations of others.

use std::collections::HashMap;

use flock_compiler_core::object::{Direction, Lifecycle};
use flock_proto::v1;
use flock_proto::v1::end::End;
use flock_shared::NamespaceName;

use super::others::Wanted;
use super::table::Table;
use super::{Layout, TableQuery, port, rows};
use crate::{AskError, Cluster, Sight, ends};

/// What may reach what: of a namespace, each cell between its workloads, and what passes to and from other namespaces, the
/// internet and blocks that its policies name; or each cell between all workloads that may be seen. Nodes have no cells:
/// those of the pods always reach them.
///
/// # Errors
/// If there is no such namespace, the asker may not see it, a port cannot be asked about, or there is too much to tell.
pub fn matrix(
    cluster: &Cluster<'_>,
    request: &v1::MatrixRequest,
    sight: &Sight,
) -> Result<Vec<v1::MatrixRow>, AskError> {
    let judge = cluster.judge_of_many();
    let selection = v1::PodSelection { namespace: request.namespace.clone(), selector: String::new() };
    let end = v1::End { end: Some(End::Selection(selection)) };
    sight.may_ask(&judge, [Some(&end), None])?;
    let within = (!request.namespace.is_empty()).then(|| NamespaceName::new(&request.namespace)).transpose();
    let within = within.map_err(|error| AskError::Bad(format!("namespace: {error}")))?;
    if let Some(namespace) = &within {
        if !cluster.has_namespace(namespace) {
            return Err(AskError::NotFound(format!("no namespace {:?}", namespace.as_str())));
        }
        // `ends` refuses an end without pods, while a table without rows is an answer.
        if cluster.world.pods_of(namespace).next().is_none() {
            return Ok(Vec::new());
        }
    }
    let mut asked = ends(cluster, &judge, Some(&end), sight)?;
    asked.at.retain(|at| {
        at.pod.as_ref().is_some_and(|pod| !pod.is_of_host_network() && pod.lifecycle != Lifecycle::Finished)
    });
    let ports = request.ports.iter().map(port).collect::<Result<Vec<_>, _>>()?;
    let is_all = within.is_none();
    let question = TableQuery { ports, layout: Layout::Matrix(within.clone()) };
    let mut found = Vec::new();
    for direction in [Direction::Egress, Direction::Ingress] {
        // What pods send each other is told once.
        let wanted = match direction {
            Direction::Egress => Wanted { nodes: false, without: None, pods: true },
            Direction::Ingress => Wanted { nodes: false, without: within.as_ref(), pods: !is_all },
        };
        let table = Table::of(cluster, &judge, Some(&end), &asked, direction, wanted)?;
        found.extend(rows::rows(&table, sight, &question)?.into_iter().map(|row| {
            let v1::ReachRow { end, other, ports, .. } = row;
            let everything = ports.iter().any(|atom| atom.protocol == "any");
            let (from, to) = match direction {
                Direction::Egress => (end, other),
                Direction::Ingress => (other, end),
            };
            v1::MatrixRow { from, to, ports, everything }
        }));
    }
    Ok(cells(found))
}

/// One row for each two ends: where their addresses differ, what passes between any of them.
fn cells(rows: Vec<v1::MatrixRow>) -> Vec<v1::MatrixRow> {
    let mut cells: Vec<v1::MatrixRow> = Vec::with_capacity(rows.len());
    let mut known: HashMap<(String, String), usize> = HashMap::new();
    for mut row in rows {
        let name = |end: &Option<v1::ShownEnd>| end.as_ref().map(|end| end.name.clone()).unwrap_or_default();
        let cell = *known.entry((name(&row.from), name(&row.to))).or_insert(cells.len());
        match cells.get_mut(cell) {
            None => cells.push(row),
            Some(cell) => {
                for end in [&mut cell.from, &mut cell.to].into_iter().flatten() {
                    end.address = None;
                }
                cell.everything |= row.everything;
                cell.ports.append(&mut row.ports);
                // Rows of several addresses have the same atoms: in one order, those are neighbours.
                cell.ports
                    .sort_by(|a, b| (&a.protocol, a.first, a.last).cmp(&(&b.protocol, b.first, b.last)));
                cell.ports.dedup();
                if cell.everything {
                    // It has all others in it.
                    cell.ports.retain(|atom| atom.protocol == "any");
                }
            }
        }
    }
    cells
}
