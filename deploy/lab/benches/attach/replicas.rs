//! A pod that connects as soon as ADD has returned, to a server on a node whose agent is with the same compiler, or with
//! another one, of whose acknowledgements the pod's compiler does not know.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use flock_lab::Protocol;
use flock_lab::figures::{Table, milliseconds, summary};

use crate::cluster::{Pool, add};
use crate::rights::Role;
use crate::starts;

const POOL: Pool = Pool { name: "pods", first: 20, last: 219 };
/// Longer than a connection takes whose first packet passes, and shorter than the second, which TCP sends repeats after.
const REPEATED: Duration = Duration::from_millis(800);

pub(crate) fn measure(pods: u16) -> anyhow::Result<(String, Table)> {
    let mut table = Table::new([
        "compilers",
        "pods",
        "answered before the other node was known to have it",
        "SYN repeated",
        "connected after, p50, ms",
        "p99, ms",
    ]);
    for replicas in [1, 2] {
        let cluster = starts::cluster("bench-replicas", 2, replicas)?;
        let (server, addresses) = starts::server(&cluster)?;
        server.serve(&[(Protocol::Tcp, 80)])?;
        let runtime = cluster.runtime(0, POOL, true);
        let namespace = Role::Client.namespace();
        let mut times = Vec::new();
        for number in 0..pods {
            let name = format!("pod-{number}");
            let sandbox = cluster.sandbox(0, &name);
            cluster.put(0, namespace, &name, Role::Client.label());
            let attachment = cluster.attachment(namespace, &name, &sandbox);
            // The thread is there before the pod is attached, so that nothing comes between.
            let connected = sandbox.enter(|| {
                add(&runtime, &attachment)?;
                let started = Instant::now();
                TcpStream::connect_timeout(&SocketAddr::new(addresses[0], 80), Duration::from_secs(10))?;
                anyhow::Ok(started.elapsed())
            })??;
            times.push(connected);
            runtime.del(&attachment)?;
            cluster.remove(namespace, &name);
        }
        let only = cluster.agents[0].log().matches("reach=Node").count();
        let repeated = times.iter().filter(|time| **time >= REPEATED).count();
        let times = summary(times.into_iter().map(milliseconds));
        table.row([
            replicas.to_string().into(),
            pods.to_string().into(),
            only.to_string().into(),
            repeated.to_string().into(),
            format!("{:.1}", times.median).into(),
            format!("{:.1}", times.p99).into(),
        ]);
    }
    Ok((
        "A pod's first connection, to another node whose agent is with the same or with another compiler"
            .to_owned(),
        table,
    ))
}
