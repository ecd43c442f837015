//! A cluster for measuring: what is before the plugin may be real or next to nothing, and writes take a while.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use flock_lab::cni::Runtime;
use flock_testkit::{NODE_PODS, Verb};
use serde_json::json;

use crate::cluster::{Cluster, Main, Plan, Pool, add};
use crate::rights::{self, Role};

/// How long the API server takes to write something down.
pub(crate) const WRITE: Duration = Duration::from_millis(5);
/// The server's addresses.
const SERVERS: Pool = Pool { name: "servers", first: 2, last: 9 };

/// A cluster whose second node has a server that lets clients in.
pub(crate) fn cluster(tag: &'static str, nodes: usize, replicas: usize) -> anyhow::Result<Cluster> {
    let log = "info,flock_node_agent::cni=debug";
    let plan = Plan { tag, main: Main::Ptp, nodes, replicas, unready: "drop", attach_wait: "100ms", log };
    let cluster = Cluster::new(plan).ok_or_else(|| anyhow::anyhow!("no cluster"))?;
    rights::write(&cluster);
    for verb in [Verb::Create, Verb::Update, Verb::Patch] {
        cluster.api.server.faults().delay(NODE_PODS, verb, WRITE);
    }
    Ok(cluster)
}

/// Starts the server, which ends with the cluster.
pub(crate) fn server(cluster: &Cluster) -> anyhow::Result<(flock_lab::Sandbox, Vec<std::net::IpAddr>)> {
    let sandbox = cluster.sandbox(1, "server");
    cluster.put(1, Role::Server.namespace(), "server", Role::Server.label());
    let attachment = cluster.attachment(Role::Server.namespace(), "server", &sandbox);
    let addresses = add(&cluster.runtime(1, SERVERS, true), &attachment)?;
    Ok((sandbox, addresses))
}

/// A runtime whose first plugin does nothing but say that the pod has an address: the last number of its name tells which.
/// There is no interface, and nobody needs one.
pub(crate) fn said(cluster: &Cluster, node: usize, ours: bool) -> anyhow::Result<Runtime> {
    let path = cluster.directory.path().join("said");
    let script = format!(
        r#"#!/bin/sh
n=${{CNI_CONTAINERID##*-}}
[ "$CNI_COMMAND" != ADD ] || echo '{{"cniVersion":"1.0.0","interfaces":[{{"name":"eth0","sandbox":"'$CNI_NETNS'"}}],"ips":[{{"interface":0,"address":"10.9.{}.'$((n % 200 + 20))'/32"}}]}}'
"#,
        node + 1
    );
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let mut plugins = vec![json!({ "type": "said" })];
    if ours {
        plugins.push(cluster.plugin(node));
    }
    Ok(cluster.chain(node, "said", &plugins))
}

/// How often the objects of nodes were written.
pub(crate) fn written(cluster: &Cluster) -> u64 {
    let count = |verb| cluster.api.server.requests(NODE_PODS, verb);
    [Verb::Create, Verb::Update, Verb::Patch].into_iter().map(count).sum()
}
