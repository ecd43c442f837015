//! All simulated agents: each with its own connection, their news in one place.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::agent::{Agent, Keepalive, Kind, Manner, Verified};
use crate::cluster;
use crate::secured::{Cluster, Tls};

/// How long the whole fleet may take for anything before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// The agents; dropping them ends them.
pub(crate) struct Agents {
    tasks: JoinSet<()>,
    bytes: Vec<Arc<AtomicU64>>,
    news: mpsc::UnboundedReceiver<Verified>,
    sender: mpsc::UnboundedSender<Verified>,
}

impl Agents {
    pub(crate) fn new() -> Self {
        let (sender, news) = mpsc::unbounded_channel();
        Self { tasks: JoinSet::new(), bytes: Vec::new(), news, sender }
    }

    /// Starts the agent of the next node.
    pub(crate) fn start(
        &mut self,
        compiler: SocketAddr,
        manner: Manner,
        keepalive: Keepalive,
        secured: Option<(&Cluster, &Tls)>,
    ) -> anyhow::Result<()> {
        let bytes = Arc::new(AtomicU64::new(0));
        let number = self.bytes.len();
        let node = cluster::node(number)?;
        let [.., high, low] = u32::try_from(number)?.to_be_bytes();
        let address = Ipv4Addr::new(127, 1, high, low);
        self.bytes.push(Arc::clone(&bytes));
        let secured = secured
            .map(|(cluster, tls)| anyhow::Ok((tls.clone(), cluster.token(node.as_str())?)))
            .transpose()?;
        let news = self.sender.clone();
        self.tasks
            .spawn(Agent { number, node, address, compiler, manner, keepalive, secured, bytes, news }.run());
        Ok(())
    }

    /// Waits until so many agents have had an update from then on; the first of each.
    pub(crate) async fn verified(&mut self, count: usize, since: Duration) -> anyhow::Result<Vec<Verified>> {
        self.first_of_each(count, |news| news.at >= since).await
    }

    /// The same for updates with a script. Others come when they like: a node whose past nobody knows has all others look at
    /// their connections.
    pub(crate) async fn changed(&mut self, count: usize, since: Duration) -> anyhow::Result<Vec<Verified>> {
        self.first_of_each(count, |news| news.at >= since && news.kind != Kind::Current).await
    }

    async fn first_of_each(
        &mut self,
        count: usize,
        counts: impl Fn(&Verified) -> bool,
    ) -> anyhow::Result<Vec<Verified>> {
        let mut verified = BTreeMap::new();
        let all = async {
            while verified.len() < count {
                let news = self.news.recv().await.context("the agents are gone")?;
                if counts(&news) {
                    verified.entry(news.agent).or_insert(news);
                }
            }
            anyhow::Ok(())
        };
        match timeout(PATIENCE, all).await {
            Ok(done) => done.map(|()| verified.into_values().collect()),
            Err(_) => bail!("only {} of {count} agents had an update within {PATIENCE:?}", verified.len()),
        }
    }

    /// Bytes of each agent's newest connection, both ways.
    pub(crate) fn bytes(&self) -> Vec<u64> {
        self.bytes.iter().map(|bytes| bytes.load(Ordering::Relaxed)).collect()
    }
}
