//! What a preview costs: a policy of 1,000 pods, one of 5,000, a tenant's, and a namespace's labels.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use flock_ask::{Cluster, Proposed, Sight, preview};
use flock_compiler_core::object::{Direction, Namespace, Pod, Policy, Rule};
use flock_compiler_core::{Change, Edit, Labels, Selector, UnreadyPods, World};
use flock_lab::figures::{Cell, Progress, Table, bytes, memory, reset_peak, summary, time};
use flock_shapes::parts::{self, labelled, namespace_name, object_name, pods_in, policy, rule, tcp};

/// What a preview may take, in seconds, and how much memory on top.
const TIME: f64 = 1.0;
const MEMORY: f64 = 300e6;
/// Pods that the policy changes.
const PODS: usize = 1000;

/// Adds a row for each kind of proposal.
pub(crate) fn rows(world: &World, progress: &mut Progress, questions: u32) -> anyhow::Result<Table> {
    let mut table = Table::new(["", "p50", "most", "memory on top", "rows", "previews"]);
    let marked = marked(world);
    for (name, world, proposed) in proposals(world, &marked)? {
        progress.say(format_args!("preview: {name}"));
        let cluster = Cluster::new(world, UnreadyPods::Expected);
        let (mut seconds, mut rows, mut on_top) = (Vec::new(), 0, 0);
        for _ in 0..questions {
            reset_peak().context("cannot measure the peak of memory")?;
            let before = memory(None)?.now;
            let started = Instant::now();
            let answer = preview(&cluster, &proposed, &Sight::Everything)?;
            seconds.push(started.elapsed().as_secs_f64());
            on_top = memory(None)?.peak.saturating_sub(before).max(on_top);
            rows = answer.len();
            ensure!(rows > 0, "{name}: nothing changes");
        }
        let all = summary(seconds);
        table.row([
            name.into(),
            time(all.median).into(),
            Cell::at_most(time(all.most), all.most, TIME),
            Cell::at_most(bytes(on_top), on_top as f64, MEMORY),
            rows.to_string().into(),
            all.count.to_string().into(),
        ]);
    }
    Ok(table)
}

/// The world with a label on 1,000 exporters.
fn marked(world: &World) -> World {
    let mut marked = world.clone();
    let exporters = world.pods().values().filter(|pod| pod.key.namespace.as_str() == "telemetry");
    for pod in exporters.take(PODS) {
        let labels: Labels = pod.labels.iter().chain([("canary", "yes")]).collect();
        marked.apply(Change::Pod(Edit::Upsert(Pod { labels, ..Pod::clone(pod) })));
    }
    marked
}

type Proposal<'w> = (&'static str, &'w World, Proposed);

fn proposals<'w>(world: &'w World, marked: &'w World) -> anyhow::Result<Vec<Proposal<'w>>> {
    let telemetry = namespace_name("telemetry");
    let canary = || labelled([&("canary".into(), "yes".into())]);
    let of_canary = |name: &str, ingress: Option<Vec<Rule>>, egress: Option<Vec<Rule>>| Proposed {
        policies: vec![policy(&telemetry, &object_name(name), canary(), ingress, egress)],
        ..Proposed::default()
    };
    let everybody = || rule([pods_in(Selector::everything(), Selector::everything())], []);
    let tenant = world.policies().values().find(|policy| {
        policy.key.namespace.as_str().starts_with("tenant-")
            && policy.rules(Direction::Egress).is_some()
            && policy.rules(Direction::Ingress).is_some()
    });
    let tenant = tenant.context("S3 has tenants with policies in both directions")?;
    let more = parts::with_rule(tenant, Direction::Ingress, rule([], [tcp(20_000)]));
    let guarded = world.policies().values().find(|policy| policy.key.namespace == telemetry);
    let guarded = Policy::clone(guarded.context("S3 has a policy of telemetry")?);
    let relabelled = world.namespaces().get(&namespace_name("monitoring")).context("S3 has monitoring")?;
    let relabelled = Namespace { labels: Labels::default(), ..Namespace::clone(relabelled) };
    Ok(vec![
        ("isolates 1,000 pods, both directions", marked, of_canary("deny", Some(vec![]), Some(vec![]))),
        ("opens 1,000 pods to all pods", marked, of_canary("open", Some(vec![everybody()]), None)),
        (
            "deletes the policy of 5,000 pods",
            world,
            Proposed { deleted: vec![guarded.key], ..Proposed::default() },
        ),
        ("a port more for a tenant", world, Proposed { policies: vec![more], ..Proposed::default() }),
        (
            "labels that policies of 6,000 pods ask for",
            world,
            Proposed { namespaces: vec![relabelled], ..Proposed::default() },
        ),
    ])
}
