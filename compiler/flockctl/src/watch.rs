//! `watch NODE`: the node is watched at every replica at the same time, so its agent may move from one to another.
//!
//! Through a cluster each watch ends with its token at the latest. What ends is taken up again, with another token or with
//! another replica; a watch that never began is not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flock_proto::v1::{NodeStatus, WatchNodeRequest};
use flock_shared::causes;
use flock_shared::pause::until;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tonic::Status;

use crate::failure::{Failure, Kind};
use crate::merge::{self, Asked, Row};
use crate::nodes::say;
use crate::print;
use crate::replica::{Client, Replica, Total};
use crate::run::Asker;
use crate::target::Target;

/// Before a watch that ended is taken up again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often replicas are looked for that are not watched yet.
const SEARCH: Duration = Duration::from_secs(5);
/// How long a replica may take for its first word before the others' are shown.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is heard of a replica.
enum Event {
    Status(String, Box<NodeStatus>),
    Ended(String, Failure),
}

/// A node that is watched.
struct Watch<'a> {
    target: &'a Target,
    node: &'a str,
    asker: &'a Asker<'a>,
    tell: mpsc::Sender<Event>,
    /// The replicas that are watched, and what each said last.
    watched: BTreeMap<String, Option<NodeStatus>>,
    total: Total,
    /// What was printed last.
    shown: Option<Row>,
    /// Those that have not said anything yet are waited for until then.
    waiting: Option<Instant>,
}

/// Shows the states of a node until that is over.
pub(crate) async fn watch(target: &Target, node: &str, asker: &Asker<'_>) -> Failure {
    let (tell, mut events) = mpsc::channel(16);
    let (watched, shown) = (BTreeMap::new(), None);
    let mut watch =
        Watch { target, node, asker, tell, watched, total: Total::Named(1), shown, waiting: None };
    if let Err(failure) = watch.search().await {
        return failure;
    }
    let mut searches = interval(SEARCH);
    // A search may take longer than its period: those that were missed are not made up for.
    searches.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // An interval's first tick comes at once, and the search before it has just ended.
    searches.reset();
    let mut failed = Vec::new();
    loop {
        let waiting = watch.waiting;
        let turn = tokio::select! {
            Some(event) = events.recv() => watch.hear(event, &mut failed).await,
            () = until(waiting) => watch.show(),
            _ = searches.tick(), if target.goes_on() => {
                // Those that are watched go on in any case.
                drop(watch.search().await);
                Ok(())
            }
        };
        if let Err(failure) = turn {
            return failure;
        }
    }
}

impl Watch<'_> {
    /// Watches the node at each replica that can be reached and is not watched.
    async fn search(&mut self) -> Result<(), Failure> {
        let known: BTreeSet<String> = self.watched.keys().cloned().collect();
        let replicas = self.target.open_others(&known).await?;
        self.total = replicas.total;
        // Not with every search: a pod that is not ready would be told every five seconds.
        if known.is_empty() {
            let missed: Vec<String> = replicas.missed.iter().map(ToString::to_string).collect();
            say(self.asker.program, &missed);
        }
        for replica in replicas.open {
            self.watched.insert(replica.name.clone(), None);
            self.waiting = Some(Instant::now() + PATIENCE);
            tokio::spawn(follow(replica, self.node.to_owned(), self.tell.clone()));
        }
        Ok(())
    }

    async fn hear(&mut self, event: Event, failed: &mut Vec<(String, Failure)>) -> Result<(), Failure> {
        match event {
            Event::Status(replica, status) => {
                self.watched.insert(replica, Some(*status));
                // The watch has begun somewhere, so what could not begin elsewhere does not end it.
                failed.clear();
            }
            Event::Ended(replica, failure) => {
                let had_begun = self.watched.remove(&replica).flatten().is_some();
                if had_begun || self.shown.is_some() {
                    self.ended(failure, had_begun).await?;
                } else {
                    // Nothing has been shown: when nobody is left, all of them say why.
                    failed.push((replica, failure));
                    if self.watched.is_empty() {
                        return Err(Failure::of_all(std::mem::take(failed)));
                    }
                }
            }
        }
        // Before all have said something, a node may seem to be offline that the next one serves.
        if self.waiting.is_none() || self.watched.values().all(Option::is_some) {
            self.show()?;
        }
        Ok(())
    }

    /// A replica is watched no longer, when states have been shown.
    async fn ended(&mut self, failure: Failure, had_begun: bool) -> Result<(), Failure> {
        let Failure { kind, error } = failure;
        let is_last = self.watched.is_empty();
        // Others that are watched still follow the node. What is refused now, such as a node that is gone, is refused
        // again.
        if is_last && (kind.is_question() || !self.target.goes_on()) {
            let kind = if kind.is_question() { kind } else { Kind::Ended };
            return Err(Failure { kind, error });
        }
        if had_begun {
            say(self.asker.program, &[format!("{}; asking again", causes(&*error))]);
        }
        if is_last {
            sleep(PAUSE).await;
            self.search().await.map_err(|failure| Failure {
                kind: Kind::Ended,
                error: failure.error.context("the watch cannot go on"),
            })?;
        }
        Ok(())
    }

    /// Prints the node if it is other than what was printed.
    fn show(&mut self) -> Result<(), Failure> {
        self.waiting = None;
        let heard = self.watched.iter().filter_map(|(name, status)| Some((name.as_str(), status.as_ref()?)));
        // Who has not said anything yet counts as not asked: it may be the one that serves the node.
        let seen: Vec<(&str, &NodeStatus)> = heard.collect();
        let said = seen.iter().map(|(_, status)| status.replicas);
        let asked = match self.total {
            Total::Running(total) => Asked { asked: seen.len(), total: Some(total) },
            Total::Named(named) => Asked::of_named(named, seen.len(), said),
        };
        // While nobody is heard there is nothing to show.
        let Some(row) = merge::row(&seen, asked.others()) else { return Ok(()) };
        if self.shown.as_ref() != Some(&row) {
            let width = row.status.node.len();
            if self.shown.is_none() {
                print::head(width, self.asker.format)?;
            }
            print::write(&print::line(&row, width, self.asker.format)?)?;
            self.shown = Some(row);
        }
        Ok(())
    }
}

/// Watches a node at one replica until that ends.
async fn follow(Replica { name, client, forward, .. }: Replica, node: String, tell: mpsc::Sender<Event>) {
    let status = match statuses(client, &name, node, &tell).await {
        // That a stream ended in order is no end of the watch: it is taken up like one that broke.
        Ok(()) => Status::unavailable("the compiler ended the watch"),
        Err(status) => status,
    };
    let failure = Failure::asked(&status, forward).await;
    // Nobody may want to know any more.
    drop(tell.send(Event::Ended(name, failure)).await);
}

async fn statuses(
    mut client: Client,
    name: &str,
    node: String,
    tell: &mpsc::Sender<Event>,
) -> Result<(), Status> {
    let mut statuses = client.watch_node(WatchNodeRequest { node }).await?.into_inner();
    while let Some(status) = statuses.message().await? {
        if tell.send(Event::Status(name.to_owned(), Box::new(status))).await.is_err() {
            break;
        }
    }
    Ok(())
}
