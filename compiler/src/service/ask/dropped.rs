//! `drops`: what nodes told, judged with the objects of the moment and those of the moment when it was dropped.
//!
//! ```text
//! DropsHub ── flows, the newest first ──▶ Judges ──▶ rows ──▶ a stream that ends
//!     └────── batches as they come ─────▶ Judges ──▶ rows ──▶ a stream that does not: what a slow one misses is read
//!                                                            from the hub
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flock_ask::{AskError, Cluster, DropFilter, Dropped, Sight, dropped};
use flock_compiler_core::World;
use flock_proto::{DropDirection, DropKey, v1};
use flock_shared::NodeName;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tonic::Status;

use super::questions::{Asked, Questions};
use crate::access::Grant;
use crate::drops::{DropsEvent, DropsHub, DropsWatcher, KnownFlow};
use crate::engine::{EngineHandle, Sequence};
use crate::mirror::{Mirror, Snapshot, rewound};
use crate::service::connection::ConnectionHandle;
use crate::service::context::Context;

/// How far back is told where nobody says.
const SINCE: Duration = Duration::from_secs(900);
/// How long agents get to tell what they have counted.
const READING: Duration = Duration::from_millis(500);
/// Flows of one answer: the newest.
const FLOWS: usize = 20_000;
/// Moments of which the objects are looked at for one answer: each is a copy of the maps.
const MOMENTS: usize = 3;
/// Rows that wait for a watcher to read them.
const WAITING: usize = 256;
/// How often a watcher is told of a flow that goes on.
const AGAIN: Duration = Duration::from_secs(60);
/// Flows that a watcher is known to have been told of.
const KNOWN: usize = 16_384;

/// A flow that a node told.
type Flow = (NodeName, DropKey, KnownFlow);

/// Asks the agents what they have counted, and gives them time to tell.
pub(super) async fn read(hub: &DropsHub) {
    hub.ask();
    sleep(READING).await;
}

/// How far back a request goes.
fn earliest(request: &v1::WatchDropsRequest) -> SystemTime {
    let since = request.since.and_then(|since| Duration::try_from(since).ok()).unwrap_or(SINCE);
    SystemTime::now().checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What has been dropped, the oldest first.
pub(super) fn rows(
    asked: &Asked<'_>,
    request: &v1::WatchDropsRequest,
    hub: &DropsHub,
    mirror: &Mirror,
) -> Result<Vec<v1::DropRow>, AskError> {
    let filter = DropFilter::of(&asked.cluster, &asked.cluster.judge(), request, asked.sight)?;
    let earliest = earliest(request);
    let mut flows = hub.flows(None);
    flows.retain(|(_, _, flow)| flow.last >= earliest);
    if !asked.sight.sees_everything() {
        // Before there are too many: those of others hide none of the asker's.
        let judge = asked.cluster.judge();
        flows.retain(|(_, key, _)| {
            let [source, destination] =
                [key.source, key.destination].map(|address| judge.place_of(address).owners);
            let own = match key.direction {
                DropDirection::Ingress => &destination,
                DropDirection::Egress => &source,
            };
            // Whose an address was that nobody has any more, earlier objects tell.
            own.is_empty()
                || [&source, &destination]
                    .into_iter()
                    .flatten()
                    .any(|pod| asked.sight.sees(&pod.key.namespace))
        });
    }
    flows.sort_by_key(|(_, _, flow)| std::cmp::Reverse(flow.last));
    let left_out =
        flows.iter().skip(FLOWS).fold(0, |sum: u64, (_, _, flow)| sum.saturating_add(flow.packets));
    flows.truncate(FLOWS);
    let mut rows = Judges { snapshot: asked.snapshot, mirror }.rows(&flows, &filter, asked.sight);
    // The newest were taken first, for there may be too many; they are told in the order in which they came.
    rows.reverse();
    if asked.sight.sees_everything() {
        add_missed(&mut rows, hub, &flows, left_out);
    }
    Ok(rows)
}

/// Says which nodes have dropped packets of flows that are not kept: in the first row of each, or in one of its own.
fn add_missed(rows: &mut Vec<v1::DropRow>, hub: &DropsHub, flows: &[Flow], left_out: u64) {
    let nodes: HashSet<&NodeName> = flows.iter().map(|(node, ..)| node).collect();
    let mut missed: BTreeMap<String, u64> = BTreeMap::new();
    for node in nodes {
        let unlisted =
            hub.totals(node).map_or(0, |it| it.unlisted_ingress.saturating_add(it.unlisted_egress));
        missed.insert(node.to_string(), unlisted);
    }
    if left_out > 0 {
        missed.insert(String::new(), left_out);
    }
    missed.retain(|_, missed| *missed > 0);
    for row in rows.iter_mut() {
        if let Some(missed) = missed.remove(&row.node) {
            row.missed = missed;
        }
    }
    rows.extend(missed.into_iter().map(|(node, missed)| v1::DropRow {
        node,
        missed,
        ..v1::DropRow::default()
    }));
}

/// Judges flows with the objects of several moments.
struct Judges<'a> {
    snapshot: &'a Snapshot,
    mirror: &'a Mirror,
}

impl Judges<'_> {
    fn rows(&self, flows: &[Flow], filter: &DropFilter, sight: &Sight) -> Vec<v1::DropRow> {
        let now = self.cluster(&self.snapshot.mirrored.world, true).judge();
        let mut found: Vec<Option<v1::DropRow>> = vec![None; flows.len()];
        // What the objects of this moment do not deny was denied by others.
        let mut open: Vec<usize> = Vec::new();
        for (place, flow) in flows.iter().enumerate() {
            match dropped(&now, (&flow.0, &flow.1), filter, sight, false) {
                Dropped::Told(row) => set(&mut found, place, *row),
                Dropped::Untold => {}
                Dropped::Unexplained => open.push(place),
            }
        }
        for _ in 0..MOMENTS {
            let Some((_, _, first)) = open.first().and_then(|place| flows.get(*place)) else { break };
            let Some(world) = self.world_at(first.last) else { break };
            let then = self.cluster(&world, false).judge_of_many();
            let before = open.len();
            open.retain(|place| {
                let Some(flow) = flows.get(*place) else { return false };
                match dropped(&then, (&flow.0, &flow.1), filter, sight, false) {
                    Dropped::Told(row) => set(&mut found, *place, *row),
                    Dropped::Untold => {}
                    Dropped::Unexplained => return true,
                }
                false
            });
            // This moment does not even explain the flow that it was chosen for: earlier ones are not tried.
            if open.len() == before {
                break;
            }
        }
        for place in open {
            if let Some(flow) = flows.get(place)
                && let Dropped::Told(row) = dropped(&now, (&flow.0, &flow.1), filter, sight, true)
            {
                set(&mut found, place, *row);
            }
        }
        let timed = found.into_iter().zip(flows).filter_map(|(row, (_, _, flow))| {
            Some(v1::DropRow {
                time: Some(flow.last.into()),
                first: Some(flow.since.into()),
                packets: (flow.packets > 0).then_some(flow.packets),
                ..row?
            })
        });
        timed.collect()
    }

    fn cluster<'w>(&'w self, world: &'w World, is_newest: bool) -> Cluster<'w> {
        let mirrored = &self.snapshot.mirrored;
        Cluster {
            over_budget: Some(&mirrored.over_budget),
            index: is_newest.then_some(&mirrored.index),
            ..Cluster::new(world, self.snapshot.options.unready_pods)
        }
    }

    /// The objects that were known at a moment; `None`: they are those of now, or not known any more.
    fn world_at(&self, moment: SystemTime) -> Option<World> {
        let mirrored = &self.snapshot.mirrored;
        let way = self.mirror.history(|history| {
            let then: Sequence = history.at(moment).filter(|then| *then < mirrored.sequence)?;
            history.way_back(mirrored.sequence, then)
        });
        Some(rewound(&mirrored.world, &way?))
    }
}

fn set(found: &mut [Option<v1::DropRow>], place: usize, row: v1::DropRow) {
    if let Some(slot) = found.get_mut(place) {
        *slot = Some(row);
    }
}

/// Sends a watcher what is dropped from here on, until it or its grant ends.
pub(super) async fn follow(mut watching: Watching, mut watcher: DropsWatcher, rows: mpsc::Sender<Row>) {
    let Context { drops: hub, mut stopping, .. } = watching.context.clone();
    loop {
        let flows = tokio::select! {
            watched = watcher.next() => match watched {
                Some(DropsEvent::Drops(told)) => {
                    let flow = |flow: &flock_proto::DroppedFlow| {
                        let last = told.at.checked_sub(flow.ago).unwrap_or(told.at);
                        let packets = flow.packets;
                        let known = KnownFlow { packets, recent: packets, since: last, last };
                        (told.node.clone(), flow.key, known)
                    };
                    told.drops.flows().iter().map(flow).collect()
                }
                // What it was too slow for is kept.
                Some(DropsEvent::Missed(_)) => hub.flows(None),
                None => return,
            },
            denied = watching.grant.revoked() => {
                watching.connection.deauthenticated();
                let _ = rows.send(Err(denied.into())).await;
                return;
            }
            () = stopped(&mut stopping) => return,
            () = rows.closed() => return,
        };
        let told = match watching.judged(flows).await {
            Ok(told) => told.into_iter().map(Ok).collect(),
            Err(status) => vec![Err(status)],
        };
        for row in told {
            let is_error = row.is_err();
            if rows.send(row).await.is_err() || is_error {
                return;
            }
        }
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // Its error is that nobody can say so any more.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// A row on its way to a watcher, or why there are no more.
pub(super) type Row = Result<v1::DropRow, Status>;

/// As many rows wait as a watcher may be late.
pub(super) fn channel() -> (mpsc::Sender<Row>, mpsc::Receiver<Row>) {
    mpsc::channel(WAITING)
}

/// Who watches, and what.
pub(super) struct Watching {
    pub(super) context: Context,
    pub(super) connection: ConnectionHandle,
    pub(super) grant: Grant,
    pub(super) sight: Arc<Sight>,
    pub(super) request: v1::WatchDropsRequest,
    /// Where watchers wait for their turn with all other questions.
    pub(super) questions: Arc<Questions>,
    /// The flows that it was told of, and when the last packet was.
    pub(super) told: HashMap<(NodeName, DropKey), SystemTime>,
}

impl Watching {
    /// What this watcher is to be told of flows, the oldest first: each when it begins, and now and then while it goes on.
    async fn judged(&mut self, mut flows: Vec<Flow>) -> Result<Vec<v1::DropRow>, Status> {
        if self.told.len() > KNOWN {
            self.told.clear();
        }
        flows.retain(|(node, key, flow)| {
            let known = self.told.get(&(node.clone(), *key));
            let is_due =
                known.is_none_or(|told| flow.last.duration_since(*told).is_ok_and(|ago| ago >= AGAIN));
            if is_due {
                self.told.insert((node.clone(), *key), flow.last);
            }
            is_due
        });
        if flows.is_empty() {
            return Ok(Vec::new());
        }
        flows.sort_by_key(|(_, _, flow)| flow.last);
        let engine: EngineHandle = self.context.engine.clone();
        let turn = self.questions.turn().await?;
        let snapshot = engine.snapshot().await?;
        let (sight, request) = (Arc::clone(&self.sight), self.request.clone());
        let judging = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let judges = Judges { snapshot: &snapshot, mirror: engine.mirror() };
            let cluster = judges.cluster(&snapshot.mirrored.world, true);
            // Ends are looked for again: pods come and go while somebody watches.
            match DropFilter::of(&cluster, &cluster.judge(), &request, &sight) {
                Ok(filter) => Ok(judges.rows(&flows, &filter, &sight)),
                Err(AskError::NotFound(_)) => Ok(Vec::new()),
                Err(error) => Err(super::questions::status(error)),
            }
        });
        judging.await.map_err(|_| Status::unavailable("the compiler is shutting down"))?
    }
}
