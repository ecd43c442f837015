//! What it takes to explain a flow, from the request to the answer, with what the nodes' acknowledged tables say.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use flock_compiler_core::object::Pod;
use flock_lab::figures::{Cell, Progress, Summary, Table, summary, time};
use flock_proto::v1;
use flock_proto::v1::ask_service_client::AskServiceClient;
use flock_proto::v1::end::End;
use tonic::transport::Channel;

use crate::churn::{Churn, RATE};
use crate::cluster::Cluster;
use crate::compiler::Compiler;

/// What an explanation may take, in seconds.
const BAR: f64 = 0.020;
/// Ports that S3's policies and pods name, and one that they do not.
const PORTS: [u32; 5] = [80, 443, 5432, 8080, 9999];

/// A row for each kind of question.
pub(crate) async fn table(
    compiler: &mut Compiler,
    cluster: &Cluster,
    questions: u32,
    progress: &mut Progress,
) -> anyhow::Result<Table> {
    let mut table = Table::new(["explain, through the service", "p50", "p99", "most", "questions"]);
    let mut asker = compiler.asker.clone();
    let count = questions as usize;
    let plain = |number: usize| some(&cluster.pods, number * 7919);
    let other = |number: usize| some(&cluster.pods, number * 104_729 + 1);
    let dns = |number: usize| some(&cluster.dns, number);

    progress.say("explain: any two pods");
    let seconds = ask(&mut asker, count, (plain, other), Nodes::Current).await?;
    table.row(row("any two pods", &seconds));
    progress.say("explain: DNS servers");
    let seconds = ask(&mut asker, count, (plain, dns), Nodes::Current).await?;
    table.row(row("to a DNS server, whose node's table names the pods of all namespaces", &seconds));

    progress.say("explain: with events");
    let mut churn = Churn::everything(&cluster.events);
    let events = compiler.events.clone();
    let seconds = tokio::select! {
        seconds = ask(&mut asker, count, (plain, other), Nodes::Any) => seconds?,
        never = churn.run(&events) => match never? {},
    };
    churn.settle(&events).await?;
    table.row(row(&format!("any two pods, with {RATE} events a second"), &seconds));
    compiler.quiet().await;

    progress.say("explain: a node that is behind");
    let (pod, added, gone) = &cluster.newcomer;
    let node = pod.node.clone().context("it has a node")?;
    let is_there = |pod: &&Pod| pod.node.as_ref() == Some(&node);
    let there: Vec<Pod> = cluster.objects.pods.iter().filter(is_there).cloned().collect();
    compiler.agents.stop(&node).await?;
    compiler.change(added.clone().into()).await?;
    let of_node = |number: usize| some(&there, number);
    let seconds = ask(&mut asker, count.div_ceil(5), (of_node, other), Nodes::Behind).await?;
    table.row(row("from a node that is behind, by the objects of then as well", &seconds));
    compiler.change(gone.clone().into()).await?;
    compiler.serve(&node).await?;
    compiler.quiet().await;
    Ok(table)
}

/// What nodes are expected to have acknowledged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nodes {
    /// What is desired.
    Current,
    /// The node of the source, something older.
    Behind,
    /// Either.
    Any,
}

type Asker = AskServiceClient<Channel>;

/// The seconds of so many questions.
async fn ask<'p>(
    asker: &mut Asker,
    count: usize,
    (from, to): (impl Fn(usize) -> Option<&'p Pod>, impl Fn(usize) -> Option<&'p Pod>),
    nodes: Nodes,
) -> anyhow::Result<Vec<f64>> {
    let (mut seconds, mut number) = (Vec::new(), 0);
    while seconds.len() < count {
        let [from, to] = [from(number), to(number)].map(|pod| pod.context("S3 has pods"));
        let (from, to) = (from?, to?);
        let port = if to.key.namespace.as_str() == "dns" {
            53
        } else {
            *PORTS.get(number % PORTS.len()).context("a port")?
        };
        number += 1;
        if from.key == to.key {
            continue;
        }
        let port = Some(v1::Port { protocol: "TCP".to_owned(), number: port });
        let request = v1::ExplainRequest { from: Some(end(from)), to: Some(end(to)), port };
        let began = Instant::now();
        let answer = asker.explain(request).await?.into_inner();
        seconds.push(began.elapsed().as_secs_f64());
        check(&answer, nodes).with_context(|| format!("{} to {}: {answer:?}", from.key, to.key))?;
    }
    Ok(seconds)
}

/// An answer is one that was held against tables.
fn check(answer: &v1::ExplainResponse, nodes: Nodes) -> anyhow::Result<()> {
    let evidence: Vec<_> = answer.explanations.iter().flat_map(|it| &it.evidence).collect();
    ensure!(evidence.len() == 2, "two nodes judge it");
    ensure!(
        evidence.iter().all(|it| !it.contradiction && it.table_passes.is_some()),
        "tables agree with words"
    );
    match nodes {
        Nodes::Current => ensure!(evidence.iter().all(|it| it.current), "nodes have what is desired"),
        Nodes::Behind => {
            let behind = evidence.iter().find(|it| !it.current).context("a node is behind")?;
            ensure!(behind.objects_pass.is_some(), "the objects of then are known");
        }
        Nodes::Any => {}
    }
    Ok(())
}

fn some(pods: &[Pod], number: usize) -> Option<&Pod> {
    pods.get(number.checked_rem(pods.len())?)
}

fn end(pod: &Pod) -> v1::End {
    let (namespace, name) = (pod.key.namespace.to_string(), pod.key.name.to_string());
    v1::End { end: Some(End::Pod(v1::PodName { namespace, name })) }
}

fn row(name: &str, seconds: &[f64]) -> [Cell; 5] {
    let Summary { median, p99, most, count, .. } = summary(seconds.iter().copied());
    [
        name.into(),
        time(median).into(),
        Cell::at_most(time(p99), p99, BAR),
        time(most).into(),
        count.to_string().into(),
    ]
}
