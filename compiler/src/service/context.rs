//! What the services need.

use std::sync::Arc;

use flock_ask::ServiceAddresses;
use flock_convert::HostInterfaces;
use tokio::sync::watch;

use super::limits::Limits;
use crate::access::Access;
use crate::attach::{AttachmentWriter, Store};
use crate::drops::DropsHub;
use crate::engine::EngineHandle;
use crate::fleet::Fleet;
use crate::metrics::Metrics;
use crate::replicas::Replicas;

/// What the services need.
#[derive(Debug, Clone)]
pub struct Context {
    /// The engine.
    pub engine: EngineHandle,
    /// Writes down what CNI does.
    pub writer: AttachmentWriter,
    /// The agents' status.
    pub fleet: Arc<Fleet>,
    /// What agents tell of drops.
    pub drops: Arc<DropsHub>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Who may ask.
    pub access: Access,
    /// Turns true when streams should end.
    pub stopping: watch::Receiver<bool>,
    /// Turns true once what was translated first is checked, or need not be: until then agents may not turn to this replica.
    pub checked: watch::Receiver<bool>,
    /// Limits.
    pub limits: Limits,
    /// Where to see how many compilers there are.
    pub replicas: Replicas,
    /// How pods' host interfaces are found, as the command line has it.
    pub interfaces: String,
    /// What is known of addresses of Services.
    pub services: Arc<ServiceAddresses>,
}

impl Context {
    /// What serves everybody on loopback, and keeps what CNI does in memory.
    #[must_use]
    pub fn in_memory(engine: EngineHandle, metrics: Arc<Metrics>, stopping: watch::Receiver<bool>) -> Self {
        let fleet = Arc::new(Fleet::default());
        let writer = AttachmentWriter::new(Store::memory(engine.clone()), engine.clone(), Arc::clone(&fleet));
        let (access, limits, replicas) = (Access::Open, Limits::default(), Replicas::Alone);
        let drops = Arc::default();
        let interfaces = HostInterfaces::None.to_string();
        // Its sender is gone, so it stays so.
        let checked = watch::channel(true).1;
        let services = Arc::default();
        Self {
            engine,
            writer,
            fleet,
            drops,
            metrics,
            access,
            stopping,
            checked,
            limits,
            replicas,
            interfaces,
            services,
        }
    }
}
