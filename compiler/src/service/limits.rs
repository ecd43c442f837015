//! Limits of the services, each with its reason. Tests set tighter ones.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Limits of the services.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a peer may take to show who it is, where that is asked, before its connection is closed.
    pub authentication: Duration,
    /// How long an agent may take to say hello. It has nothing to do before.
    pub hello: Duration,
    /// How long an agent may take to acknowledge an update before its stream ends. An agent kills nft after 30 s
    /// unless told otherwise; it may be at two earlier scripts (a retry and a repair) when the update comes, and a
    /// large script has to travel first.
    pub ack: Duration,
    /// How long a peer may leave bytes unread, without taking [`Self::progress`] of them, before its connection is
    /// closed. A healthy one reads at once; one whose machine is gone fails its keepalive in about this time.
    pub write: Duration,
    /// What counts as reading, in bytes: more than the pings of that time, less than any link that is of use.
    pub progress: u64,
    /// The first and the longest pause before an update that was refused is sent again. A newer state waits for the
    /// first only.
    pub resend_first: Duration,
    /// See [`Self::resend_first`].
    pub resend_longest: Duration,
    /// The first and the longest pause before a node that refused its table, and has the closed form, is sent a table
    /// that other objects ask for. Each attempt in vain may take nft's whole time on the node.
    pub reopen_first: Duration,
    /// See [`Self::reopen_first`].
    pub reopen_longest: Duration,
    /// How long an agent that has applied more than this replica has read is held, before it is sent to another one.
    pub lag: Duration,
    /// How long an agent is sent away at least, before a replica concludes that what the agent has seen is no more: a store
    /// that was restored from a backup counts its versions anew. The store itself has to say so as well.
    pub rewind: Duration,
    /// How long it takes at least from what an agent says of its node to what it says next: each may cost a pass.
    pub facts: Duration,
    /// How long a call of CNI's plugin is held for other nodes than the pod's own to open to it.
    pub attach_wait: Duration,
    /// Full scripts and large deltas that are made at once: they occupy a core each.
    pub renders: NonZeroUsize,
    /// Bytes of full scripts and large deltas that are made and not yet written to the network. More would only wait in
    /// memory.
    pub unwritten: NonZeroUsize,
    /// From this length on, in bytes, a delta is large: a thousand smaller ones at once take less memory than their
    /// streams.
    pub large: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            authentication: Duration::from_secs(10),
            hello: Duration::from_secs(10),
            ack: Duration::from_secs(300),
            write: Duration::from_secs(30),
            progress: 64 * 1024,
            resend_first: Duration::from_secs(1),
            resend_longest: Duration::from_secs(60),
            reopen_first: Duration::from_secs(60),
            reopen_longest: Duration::from_secs(3600),
            lag: Duration::from_secs(30),
            rewind: Duration::from_secs(15),
            facts: Duration::from_secs(1),
            attach_wait: Duration::from_millis(100),
            renders: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            unwritten: NonZeroUsize::MIN.saturating_add(64 * 1024 * 1024),
            large: 16 * 1024,
        }
    }
}
