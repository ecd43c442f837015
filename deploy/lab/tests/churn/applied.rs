//! What the compiler says of its nodes, as it changes.

use flock_proto::v1::debug_service_client::DebugServiceClient;
use flock_proto::v1::{NodeStatus, WatchNodeRequest};
use flock_shared::dial;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::support::wait::PATIENCE;

/// The statuses of some nodes, kept up to date.
pub(crate) struct Applied {
    runtime: Runtime,
    nodes: Vec<watch::Receiver<NodeStatus>>,
}

impl Applied {
    /// Watches nodes that the compiler knows.
    pub(crate) fn watch(url: &str, nodes: &[&str]) -> Self {
        let runtime = Runtime::new().unwrap();
        let channel = runtime.block_on(dial::connect(&url.parse().unwrap(), None)).unwrap();
        let watch = |node: &&str| {
            let request = WatchNodeRequest { node: (*node).to_owned() };
            let mut client = DebugServiceClient::new(channel.clone());
            let mut statuses = runtime.block_on(client.watch_node(request)).unwrap().into_inner();
            let (inlet, outlet) = watch::channel(NodeStatus::default());
            runtime.spawn(async move {
                while let Ok(Some(status)) = statuses.message().await {
                    inlet.send_replace(status);
                }
            });
            outlet
        };
        let nodes = nodes.iter().map(watch).collect();
        Self { runtime, nodes }
    }

    /// Waits until each node wants and has its revision.
    pub(crate) fn wait_for(&mut self, revisions: &[String]) {
        for (node, revision) in self.nodes.iter_mut().zip(revisions) {
            let has = |status: &NodeStatus| {
                [&status.desired_revision, &status.applied_revision].iter().all(|it| *it == revision)
            };
            let waiting = async {
                let waiting = tokio::time::timeout(PATIENCE, node.wait_for(has)).await;
                matches!(waiting, Ok(Ok(_)))
            };
            if !self.runtime.block_on(waiting) {
                panic!("waited in vain for {revision}: {:?}", node.borrow());
            }
        }
    }
}
