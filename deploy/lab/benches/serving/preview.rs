//! What a preview takes, from the request to the last row, and what becomes of events meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use flock_lab::figures::{Cell, Progress, Summary, Table, bytes, memory, reset_peak, summary, time};
use flock_proto::v1;
use flock_proto::v1::ask_service_client::AskServiceClient;
use tokio::time::sleep;
use tonic::transport::Channel;

use crate::churn::{Churn, RATE};
use crate::cluster::{Cluster, MARK};
use crate::compiler::Compiler;

/// What a preview may take, in seconds, and how much memory on top.
const TIME: f64 = 1.0;
const MEMORY: f64 = 300e6;
/// How many times as long the median event may take: as quick as before, as far as turns of one run scatter.
const SLOWER: f64 = 1.25;

/// A row for each kind of proposal.
pub(crate) async fn table(
    compiler: &Compiler,
    cluster: &Cluster,
    previews: u32,
    progress: &mut Progress,
) -> anyhow::Result<Table> {
    let header = format!("preview of a policy of {} pods, through the service", cluster.marked);
    let mut table = Table::new([&header, "p50", "most", "memory on top", "rows", "previews"]);
    let mut asker = compiler.asker.clone();
    for (name, rules) in [("isolates them, both directions", DENY), ("opens them to all pods", OPEN)] {
        progress.say(format_args!("preview: {name}"));
        let (mut seconds, mut rows, mut on_top) = (Vec::new(), 0, 0);
        for _ in 0..previews {
            reset_peak().context("cannot measure the peak of memory")?;
            let before = memory(None)?.now;
            let began = Instant::now();
            rows = preview(&mut asker, rules).await?;
            seconds.push(began.elapsed().as_secs_f64());
            on_top = memory(None)?.peak.saturating_sub(before).max(on_top);
            ensure!(rows > 0, "{name}: nothing changes");
        }
        let Summary { median, most, count, .. } = summary(seconds);
        table.row([
            name.into(),
            time(median).into(),
            Cell::at_most(time(most), most, TIME),
            Cell::at_most(bytes(on_top), on_top as f64, MEMORY),
            rows.to_string().into(),
            count.to_string().into(),
        ]);
    }
    Ok(table)
}

/// Events while there are previews back to back and while there are none, in turns of so many seconds each.
pub(crate) async fn events(
    compiler: &mut Compiler,
    cluster: &Cluster,
    (seconds, turns): (u16, u16),
    progress: &mut Progress,
) -> anyhow::Result<Table> {
    let header =
        format!("pod added or deleted, {RATE} a second → the last of {} agents", cluster.of_dns.len());
    let mut table = Table::new([&header, "p50", "p90", "p99", "most", "memory on top", "events", "previews"]);
    let length = Duration::from_secs(seconds.into());
    let (mut alone, mut beside) = (Turns::default(), Turns::default());
    // What the first turn warms up is not measured.
    compiler.quiet().await;
    Turns::default().turn(compiler, cluster, Duration::from_secs(1).min(length)).await?;
    for turn in 0..turns {
        progress.say(format_args!("events: turn {turn} of {turns}"));
        alone.turn(compiler, cluster, length).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let asking = tokio::spawn(back_to_back(compiler.asker.clone(), Arc::clone(&stop)));
        beside.turn(compiler, cluster, length).await?;
        stop.store(true, Ordering::Relaxed);
        beside.previews += asking.await??;
        ensure!(beside.previews > 0, "no preview was answered meanwhile");
    }
    let (alone_all, beside_all) = (summary(alone.seconds), summary(beside.seconds));
    for (name, all, most, on_top, previews) in [
        ("no previews", &alone_all, None, alone.on_top, 0),
        (
            "previews back to back",
            &beside_all,
            Some(alone_all.median * SLOWER),
            beside.on_top,
            beside.previews,
        ),
    ] {
        table.row([
            name.into(),
            Cell::at_most(time(all.median), all.median, most),
            time(all.p90).into(),
            time(all.p99).into(),
            time(all.most).into(),
            Cell::at_most(bytes(on_top), on_top as f64, most.map(|_| MEMORY)),
            all.count.to_string().into(),
            previews.to_string().into(),
        ]);
    }
    Ok(table)
}

/// What turns of one kind came to.
#[derive(Default)]
struct Turns {
    seconds: Vec<f64>,
    on_top: u64,
    previews: usize,
}

impl Turns {
    /// Events one after the other at their rate. Who is late for the next one is late with it: it counts from when it was due.
    async fn turn(
        &mut self,
        compiler: &mut Compiler,
        cluster: &Cluster,
        length: Duration,
    ) -> anyhow::Result<()> {
        let mut churn = Churn::pods(&cluster.events);
        reset_peak().context("cannot measure the peak of memory")?;
        let before = memory(None)?.now;
        let began = Instant::now();
        let mut due = began;
        while due < began + length {
            let now = Instant::now();
            let from = if now < due {
                sleep(due - now).await;
                Instant::now()
            } else {
                due
            };
            let last = compiler.followed(churn.event()?.into(), cluster).await?;
            self.seconds.push(last.duration_since(from).as_secs_f64());
            due += Duration::from_secs(1) / RATE;
        }
        self.on_top = memory(None)?.peak.saturating_sub(before).max(self.on_top);
        churn.settle(&compiler.events).await?;
        compiler.quiet().await;
        Ok(())
    }
}

async fn back_to_back(mut asker: AskServiceClient<Channel>, stop: Arc<AtomicBool>) -> anyhow::Result<usize> {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        ensure!(preview(&mut asker, DENY).await? > 0, "nothing changes");
        count += 1;
    }
    Ok(count)
}

/// Isolates in both directions.
const DENY: &str = "policyTypes: [Ingress, Egress]";
/// Lets everybody in.
const OPEN: &str = "policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {}}]}]";

/// Asks what a policy would change; how many rows the answer has.
async fn preview(asker: &mut AskServiceClient<Channel>, rules: &str) -> anyhow::Result<usize> {
    let (key, value) = MARK;
    let text = format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{namespace: telemetry, name: canary}}, \
         spec: {{podSelector: {{matchLabels: {{{key}: '{value}'}}}}, {rules}}}}}"
    );
    let manifest = v1::Manifest { origin: "canary.yaml".to_owned(), content: text.into_bytes().into() };
    let request = v1::PreviewRequest { manifests: vec![manifest], ..v1::PreviewRequest::default() };
    let mut rows = asker.preview(request).await?.into_inner();
    let mut count = 0;
    while rows.message().await?.is_some() {
        count += 1;
    }
    Ok(count)
}
