//! Who may reach a pod of the largest cluster, what it may reach, and the matrix of a namespace.

use std::time::Instant;

use anyhow::ensure;
use flock_ask::{AskError, Cluster, Sight, matrix, reach};
use flock_compiler_core::object::Pod;
use flock_lab::figures::{Cell, Summary, Table, summary, time};
use flock_proto::v1;
use flock_proto::v1::end::End;

/// What it may take to tell who can reach a pod, in seconds.
const REACH: f64 = 0.100;
/// What a matrix may take, in seconds.
const MATRIX: f64 = 5.0;

/// Adds a row for each kind of question, of so many pods.
pub(crate) fn rows(cluster: &Cluster<'_>, count: usize, table: &mut Table) -> anyhow::Result<()> {
    let pods = cluster.world.pods();
    let step = (pods.len() / count.max(1)).max(1);
    let some = || pods.values().step_by(step).take(count);
    for (name, direction, bar) in [
        ("who-can reach a pod", v1::Direction::Ingress, Some(REACH)),
        ("reach from a pod", v1::Direction::Egress, None),
    ] {
        let mut seconds = Vec::new();
        for pod in some() {
            let request = v1::ReachRequest { end: Some(end(pod)), direction: direction.into(), port: None };
            let started = Instant::now();
            let answer = reach(cluster, &request, &Sight::Everything);
            seconds.push(started.elapsed().as_secs_f64());
            ensure!(answer.is_ok_and(|rows| !rows.is_empty()), "{} has no answer", pod.key);
        }
        table.row(row(name, &summary(seconds), bar));
    }
    let mut seconds = Vec::new();
    for pod in some() {
        let request = v1::MatrixRequest { namespace: pod.key.namespace.to_string(), ports: Vec::new() };
        let started = Instant::now();
        let answer = matrix(cluster, &request, &Sight::Everything);
        seconds.push(started.elapsed().as_secs_f64());
        ensure!(matches!(answer, Ok(_) | Err(AskError::TooLarge(_))), "{}: {answer:?}", pod.key);
    }
    table.row(row("matrix of a namespace", &summary(seconds), Some(MATRIX)));
    Ok(())
}

fn row(name: &str, all: &Summary, bar: Option<f64>) -> [Cell; 5] {
    [
        name.into(),
        time(all.median).into(),
        Cell::at_most(time(all.p99), all.p99, bar),
        time(all.most).into(),
        all.count.to_string().into(),
    ]
}

fn end(pod: &Pod) -> v1::End {
    let (namespace, name) = (pod.key.namespace.to_string(), pod.key.name.to_string());
    v1::End { end: Some(End::Pod(v1::PodName { namespace, name })) }
}
