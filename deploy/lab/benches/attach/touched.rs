//! The nodes whose tables change when a pod starts: its own, and those whose pods have to do with it.

use std::thread;

use flock_lab::figures::{Cell, Table};

use crate::cluster::{Cluster, add};
use crate::rights::Role;
use crate::starts;

/// Nodes of the cluster: the pods', the server's, and others.
const NODES: usize = 5;

/// Updates that each node has applied so far, once all is acknowledged.
fn applied(cluster: &Cluster) -> Vec<usize> {
    // What came with the last pod and opens something elsewhere has had 100 ms in ADD.
    thread::sleep(std::time::Duration::from_millis(500));
    cluster.agents.iter().map(|agent| agent.log().matches("outcome=applied").count()).collect()
}

pub(crate) fn measure(pods: u16) -> anyhow::Result<(String, Table)> {
    let cluster = starts::cluster("bench-touched", NODES, 1)?;
    let _server = starts::server(&cluster)?;
    let runtime = starts::said(&cluster, 0, true)?;
    let sandbox = cluster.sandbox(0, "pods");
    let mut table = Table::new(["a pod that starts", "pods", "own node", "the server's", "three others"]);
    let kinds = [
        (Role::Client, "isolated, and let in by the server", 1.0),
        (Role::Stranger, "isolated, and named by nobody", 0.0),
        (Role::Guest, "open, and named by nobody", 0.0),
    ];
    let mut number = 0;
    for (role, words, others) in kinds {
        let before = applied(&cluster);
        for _ in 0..pods {
            let name = format!("pod-{number}");
            cluster.put(0, role.namespace(), &name, role.label());
            let attachment = cluster.attachment(role.namespace(), &name, &sandbox);
            add(&runtime, &attachment)?;
            number += 1;
        }
        let after = applied(&cluster);
        let each: Vec<f64> = after
            .iter()
            .zip(&before)
            .map(|(after, before)| (after - before) as f64 / f64::from(pods))
            .collect();
        let rest: f64 = each.iter().skip(2).sum();
        let cell = |figure: f64, most: f64| Cell::at_most(format!("{figure:.2}"), figure, most);
        table.row([
            words.into(),
            pods.to_string().into(),
            cell(each[0], 1.0),
            cell(each[1], others),
            cell(rest, 0.0),
        ]);
        for number in number - u32::from(pods)..number {
            let name = format!("pod-{number}");
            runtime.del(&cluster.attachment(role.namespace(), &name, &sandbox))?;
            cluster.remove(role.namespace(), &name);
        }
    }
    Ok(("Updates of tables for each pod that starts, one after the other".to_owned(), table))
}
