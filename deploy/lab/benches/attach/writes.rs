//! What pods that start together on one node write.

use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use flock_lab::figures::{Cell, Table, milliseconds, summary};

use crate::rights::Role;
use crate::starts;

/// A few.
const FEW: f64 = 10.0;

pub(crate) fn measure(pods: u16) -> anyhow::Result<(String, Table)> {
    let cluster = starts::cluster("bench-writes", 2, 1)?;
    let _server = starts::server(&cluster)?;
    let runtime = starts::said(&cluster, 0, true)?;
    let sandbox = cluster.sandbox(0, "pods");
    let mut table = Table::new(["at once on one node", "calls", "writes", "p50, ms", "p99, ms"]);
    let names: Vec<String> = (0..pods).map(|number| format!("pod-{number}")).collect();
    let namespace = Role::Client.namespace();
    names.iter().for_each(|name| cluster.put(0, namespace, name, Role::Client.label()));
    for command in ["ADD", "DEL"] {
        let (before, times) = (starts::written(&cluster), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for name in &names {
                scope.spawn(|| {
                    let attachment = cluster.attachment(namespace, name, &sandbox);
                    let started = Instant::now();
                    if command == "ADD" {
                        runtime.add(&attachment).map(drop).unwrap();
                    } else {
                        runtime.del(&attachment).unwrap();
                    }
                    times.lock().unwrap().push(milliseconds(started.elapsed()));
                });
            }
        });
        let writes = starts::written(&cluster) - before;
        let times = summary(times.into_inner()?);
        table.row([
            command.into(),
            pods.to_string().into(),
            Cell::at_most(writes.to_string(), writes as f64, FEW),
            format!("{:.1}", times.median).into(),
            format!("{:.1}", times.p99).into(),
        ]);
    }
    Ok((format!("{pods} calls at once, and the writes of the node's object that they come to"), table))
}
