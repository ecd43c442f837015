//! The compiler in this process: engine, mirror and services, with agents and an asker.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use flock_compiler::engine::{Engine, EngineHandle};
use flock_compiler::fleet::Fleet;
use flock_compiler::listen::{self, PreAuthLimiter};
use flock_compiler::metrics::Metrics;
use flock_compiler::service::{self, Context};
use flock_compiler::source::SourceEvent;
use flock_proto::v1::ask_service_client::AskServiceClient;
use flock_shared::NodeName;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::agents::Agents;
use crate::cluster::Cluster;

/// How long anything may take before the bench gives up, far beyond any bar.
const PATIENCE: Duration = Duration::from_secs(120);

/// A compiler that serves a cluster.
pub(crate) struct Compiler {
    pub(crate) events: mpsc::Sender<SourceEvent>,
    pub(crate) engine: EngineHandle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) agents: Agents,
    pub(crate) asker: AskServiceClient<Channel>,
    fleet: Arc<Fleet>,
    address: SocketAddr,
    /// The end of it would be the end of streams.
    _stop: watch::Sender<bool>,
}

impl Compiler {
    /// Starts it, and waits until every agent has acknowledged what its node should have.
    pub(crate) async fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let listener = listen::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let metrics = Arc::new(Metrics::default());
        let (engine, handle) = Engine::new(Arc::clone(&metrics));
        let (events, incoming) = mpsc::channel(4096);
        tokio::spawn(engine.run(incoming));
        let (stop, stopping) = watch::channel(false);
        let context = Context::in_memory(handle.clone(), Arc::clone(&metrics), stopping);
        let fleet = Arc::clone(&context.fleet);
        let connections = listen::plain_limited(listener, PreAuthLimiter::default(), Arc::clone(&metrics));
        tokio::spawn(service::serve(connections, context, std::future::pending()));
        for change in cluster.objects.clone().changes() {
            events.send(change.into()).await?;
        }
        handle.readiness().wait_for(|ready| *ready).await?;
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        let asker = AskServiceClient::new(channel).max_decoding_message_size(flock_proto::MAX_MESSAGE_BYTES);
        let (engine, agents) = (handle, Agents::new());
        let mut compiler = Self { events, engine, metrics, agents, asker, fleet, address, _stop: stop };
        for node in &cluster.served {
            compiler.serve(node).await?;
        }
        Ok(compiler)
    }

    /// Starts the agent of a node, and waits until it has acknowledged.
    pub(crate) async fn serve(&mut self, node: &NodeName) -> anyhow::Result<()> {
        self.agents.start(self.address, node).await?;
        let began = Instant::now();
        while self.fleet.acks(node).is_none_or(|acks| acks.standing().is_none()) {
            if began.elapsed() > PATIENCE {
                bail!("{node} has acknowledged nothing");
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Makes a change, and waits until it is published and mirrored.
    pub(crate) async fn change(&self, change: SourceEvent) -> anyhow::Result<()> {
        let mut passed = self.engine.passed();
        let before = *passed.borrow_and_update();
        self.events.send(change).await?;
        timeout(PATIENCE, passed.wait_for(|passed| *passed > before))
            .await
            .context("nothing is published")??;
        self.engine.snapshot().await?;
        Ok(())
    }

    /// Makes a change that changes the tables of these nodes, and waits for the last of their agents; when it had it.
    pub(crate) async fn followed(&mut self, change: SourceEvent, by: &Cluster) -> anyhow::Result<Instant> {
        self.events.send(change).await?;
        let (mut missing, mut last) = (by.of_dns.clone(), Instant::now());
        let all = async {
            while !missing.is_empty() {
                let (node, at) = self.agents.news.recv().await.context("the agents are gone")?;
                if missing.remove(&node) {
                    last = at;
                }
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, all).await.context("agents should have had an update long ago")??;
        Ok(last)
    }

    /// Waits until nothing comes to agents any more, and forgets what came.
    pub(crate) async fn quiet(&mut self) {
        while timeout(Duration::from_millis(300), self.agents.news.recv()).await.is_ok() {}
    }
}
