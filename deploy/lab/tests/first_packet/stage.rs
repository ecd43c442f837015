//! A pod's life on the stage: it starts while it sends to everybody and everybody to it, goes on for a while, and ends; and
//! what there is to say of it.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flock_lab::Sandbox;
use flock_lab::cni::{Attachment, Runtime};

use crate::cluster::{Cluster, Main, Plan, Pool, add};
use crate::peers::{Peer, Peers};
use crate::rights::{self, Role};
use crate::traffic::{Actor, Id, Single, lost_by_the_kernel};

/// The numbers of pods begin here; peers have lower ones.
const PODS: Id = 100;

/// Two nodes with peers, and room for pods.
pub(crate) struct Stage {
    // In this order: what sends ends before what it sends through.
    pub(crate) peers: Peers,
    runtimes: Vec<Runtime>,
    sandboxes: Mutex<Vec<(usize, Sandbox)>>,
    pace: Duration,
    /// What the kernel had lost before.
    lost: u64,
    cluster: Cluster,
}

/// A pod that has started.
pub(crate) struct Pod {
    name: String,
    id: Id,
    node: usize,
    role: Role,
    attachment: Attachment,
    pub(crate) addresses: Vec<IpAddr>,
    /// When ADD had returned.
    pub(crate) added: Instant,
    actor: Actor,
    /// How many datagrams it had sent by then.
    early: u64,
    /// Of its first packets, and of the first ones to it: how many there were, and which were not answered.
    singles: usize,
    lost: Vec<String>,
    sandbox: Sandbox,
}

/// What there is to say of many pods.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) pods: usize,
    /// Of those, how many sent before ADD had returned.
    pub(crate) early: usize,
    /// First packets that may pass, both ways.
    pub(crate) singles: usize,
    /// Flows that may not pass, of both families both ways.
    pub(crate) forbidden: usize,
    /// Datagrams that pods sent.
    pub(crate) sent: u64,
    /// All that was not as it should be.
    pub(crate) wrong: Vec<String>,
}

impl Stage {
    /// Nothing where it cannot be, which is said.
    pub(crate) fn new(
        tag: &'static str,
        main: Main,
        unready: &'static str,
        attach_wait: &'static str,
        pool: Pool,
        pace: Duration,
    ) -> Option<Self> {
        let plan = Plan { tag, main, nodes: 2, replicas: 1, unready, attach_wait, log: "info" };
        let cluster = Cluster::new(plan)?;
        rights::write(&cluster);
        let peers = Peers::new(&cluster, pace);
        let runtimes = (0..2).map(|node| cluster.runtime(node, pool, true)).collect();
        Some(Self { peers, runtimes, sandboxes: Mutex::default(), pace, lost: lost_by_the_kernel(), cluster })
    }

    /// A sandbox of a node that no pod has.
    pub(crate) fn sandbox(&self, node: usize) -> Sandbox {
        let mut free = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
        let found = free.iter().position(|(on, _)| *on == node);
        let found = found.map(|index| free.swap_remove(index).1);
        drop(free);
        found.unwrap_or_else(|| {
            static COUNTER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            let number = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.cluster.sandbox(node, &format!("box-{number}"))
        })
    }

    /// Gives sandboxes back.
    pub(crate) fn keep(&self, sandboxes: impl IntoIterator<Item = (usize, Sandbox)>) {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner).extend(sandboxes);
    }

    /// Starts a pod: it is bound, and at once attached. Whatever may pass is sent once as soon as ADD has returned.
    /// `expected`: the addresses that it will have, where that is known.
    pub(crate) fn start(&self, node: usize, number: usize, role: Role, expected: Option<[IpAddr; 2]>) -> Pod {
        let (name, id) = (format!("pod-{number}"), PODS + Id::try_from(number).unwrap());
        let sandbox = self.sandbox(node);
        self.cluster.put(node, role.namespace(), &name, role.label());
        let mut attachment = self.cluster.attachment(role.namespace(), &name, &sandbox);
        if let Some([IpAddr::V4(address), _]) = expected {
            // On a bridge, neighbours go by what they learnt of the address' last owner for a while: that is the bridge's.
            let [.., last] = address.octets();
            attachment.args.push_str(&format!(";MAC=02:00:00:00:{node:02x}:{last:02x}"));
        }
        let actor = Actor::start(&sandbox, id, &self.peers.everybody, self.pace);
        let friends: Vec<&Peer> = self.peers.all.iter().filter(|peer| role.may_talk_to(peer.role)).collect();
        // Each is from a port of its own: none of them is the reply of another one.
        let out = |peer: &&Peer| peer.addresses.clone().into_iter().map(|to| (Single::new(&sandbox, id), to));
        let out: Vec<(Single, IpAddr)> = friends.iter().flat_map(out).collect();
        let back: Vec<[Single; 2]> =
            friends.iter().map(|peer| [(); 2].map(|()| Single::new(&peer.sandbox, id))).collect();

        let addresses =
            add(&self.runtimes[node], &attachment).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            expected.is_none_or(|expected| addresses == expected),
            "{addresses:?} instead of {expected:?}"
        );
        let (added, early) = (Instant::now(), actor.sent());
        let mut lost = Vec::new();
        let back = back.into_iter().flat_map(|pair| pair.into_iter().zip(addresses.clone()));
        let singles: Vec<(Single, IpAddr)> = out.into_iter().chain(back).collect();
        for (single, to) in &singles {
            if let Err(error) = single.send(*to) {
                lost.push(format!("{name} on {node}: {single} to {to}: {error}"));
            }
        }
        let unanswered = singles.iter().filter(|(single, to)| !single.is_answered(*to));
        lost.extend(unanswered.map(|(single, to)| format!("{name} on {node}: {single} to {to}: no answer")));
        let singles = singles.len();
        Pod { name, id, node, role, attachment, addresses, added, actor, early, singles, lost, sandbox }
    }

    /// Ends a pod: what it has come to is counted, it falls silent, it is taken down, and its object goes.
    pub(crate) fn end(&self, pod: Pod, tally: &mut Tally) {
        let Pod { name, id, node, role, attachment, actor, early, singles, lost, sandbox, .. } = pod;
        tally.pods += 1;
        tally.early += usize::from(early > 0);
        tally.singles += singles;
        tally.sent += actor.sent();
        tally.wrong.extend(lost);
        for peer in self.peers.all.iter().filter(|peer| !role.may_talk_to(peer.role)) {
            // Both families, both ways.
            tally.forbidden += 4;
            let (out, back) = (peer.actor.heard(id), actor.heard(peer.id));
            if out + back > 0 {
                tally.wrong.push(format!(
                    "{name}, a {} on {node}: {out} to the {} {}, {back} from it",
                    role.label(),
                    peer.role.label(),
                    peer.id
                ));
            }
        }
        drop(actor);
        if let Err(error) = self.runtimes[node].del(&attachment) {
            tally.wrong.push(format!("{name}: {error}"));
        }
        self.cluster.remove(role.namespace(), &name);
        self.keep([(node, sandbox)]);
    }
}

impl Tally {
    /// Says what it came to. Fails where anything was lost, passed that may not, or was not tried.
    pub(crate) fn judge(&self, stage: &Stage, what: &str, pods: usize) {
        let lost = lost_by_the_kernel() - stage.lost;
        let Self { early, singles, forbidden, sent, wrong, .. } = self;
        println!(
            "{what}: {pods} pods ({early} sent during ADD); {singles} first packets, {forbidden} forbidden flows ({sent} datagrams out): {} wrong ({lost} lost by the kernel)",
            wrong.len()
        );
        assert!(
            wrong.is_empty(),
            "{what}: {}, and the kernel itself lost {lost}:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        assert_eq!(self.pods, pods);
        // A thread may have had no turn while ADD took its time, but hardly ever.
        assert!(*early * 10 >= pods * 9, "only {early} of {pods} sent during ADD");
    }

    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.pods += other.pods;
        self.early += other.early;
        self.singles += other.singles;
        self.forbidden += other.forbidden;
        self.sent += other.sent;
        self.wrong.extend(other.wrong);
        self
    }
}
