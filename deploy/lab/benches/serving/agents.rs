//! Agents that believe every update and acknowledge it, each on a connection of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use flock_shared::NodeName;
use flock_testkit::agent::{AgentMemory, FakeAgent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::transport::Endpoint;

/// How long an agent may hear nothing: longer than any bench.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// The agents; dropping them ends them.
pub(crate) struct Agents {
    tasks: BTreeMap<NodeName, JoinHandle<()>>,
    sender: mpsc::UnboundedSender<(NodeName, Instant)>,
    /// Which had an update, and when.
    pub(crate) news: mpsc::UnboundedReceiver<(NodeName, Instant)>,
}

impl Agents {
    pub(crate) fn new() -> Self {
        let (sender, news) = mpsc::unbounded_channel();
        Self { tasks: BTreeMap::new(), sender, news }
    }

    /// Starts the agent of a node, which has nothing yet.
    pub(crate) async fn start(&mut self, compiler: SocketAddr, node: &NodeName) -> anyhow::Result<()> {
        let channel = Endpoint::from_shared(format!("http://{compiler}"))?.connect().await?;
        let hello = AgentMemory::default().hello(node.clone());
        let mut agent = FakeAgent::open(channel, None, hello).await?.patient(PATIENCE);
        let (news, own) = (self.sender.clone(), node.clone());
        let task = tokio::spawn(async move {
            // A stream that breaks is missed by whoever waits for its news.
            while agent.take().await.is_ok() && news.send((own.clone(), Instant::now())).is_ok() {}
        });
        self.tasks.insert(node.clone(), task);
        Ok(())
    }

    /// Ends the agent of a node: what it has acknowledged stands there.
    pub(crate) async fn stop(&mut self, node: &NodeName) -> anyhow::Result<()> {
        let task = self.tasks.remove(node).with_context(|| format!("{node} has no agent"))?;
        task.abort();
        // It was asked to end.
        let _ = task.await;
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.tasks.len()
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.tasks.values().for_each(JoinHandle::abort);
    }
}
