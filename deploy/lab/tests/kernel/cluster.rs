//! The test cluster in a lab: two nodes, members as pods that serve, and the compiler's scripts in the nodes' nft.

use std::sync::{Condvar, Mutex, PoisonError};

use flock_compiler_core::{Translation, render};
use flock_lab::{Lab, Matrix, Node, Pod, PodSpec, Protocol, skipped};
use flock_shared::NodeName;

use crate::flow::{Flow, SERVED, wrong};
use crate::members::{MEMBERS, Member, NODES, member};
use crate::objects::Objects;

/// Labs of this process that exist at once, however many threads the tests have.
const AT_ONCE: u8 = 4;

static RUNNING: Mutex<u8> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// Permission to have a lab.
struct Permit;

impl Permit {
    fn wait() -> Self {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running =
            ENDED.wait_while(running, |running| *running == AT_ONCE).unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}

/// Two nodes and some of the members, running.
pub(crate) struct Cluster {
    pub(crate) nodes: [Node; 2],
    pub(crate) pods: Vec<Pod>,
    // Before the permit: fields are dropped in this order.
    _lab: Lab,
    _permit: Permit,
}

impl Cluster {
    /// All members, or nothing where no lab can be built, which is said.
    pub(crate) fn of_all_members(tag: &str) -> Option<Self> {
        let names: Vec<&str> = MEMBERS.iter().map(|member| member.name).collect();
        Self::of(tag, &names)
    }

    /// Some of the members, or nothing where no lab can be built, which is said.
    pub(crate) fn of(tag: &str, names: &[&str]) -> Option<Self> {
        if let Err(reason) = Lab::available() {
            skipped(&reason);
            return None;
        }
        let permit = Permit::wait();
        let lab = Lab::new(tag).unwrap();
        let mut cluster = Self {
            nodes: NODES.map(|name| lab.node(name).unwrap()),
            pods: Vec::new(),
            _lab: lab,
            _permit: permit,
        };
        for name in names {
            cluster.add(member(name));
        }
        Some(cluster)
    }

    fn add(&mut self, member: &Member) {
        let spec = PodSpec {
            addresses: member.addresses().to_vec(),
            host_interface: Some(member.interface.to_owned()),
        };
        let node = &self.nodes[usize::from(member.node - 1)];
        let pod = node.pod_with(member.name, &spec).unwrap();
        pod.serve(&SERVED).unwrap();
        self.pods.push(pod);
    }

    /// A member's pod.
    pub(crate) fn pod(&self, name: &str) -> &Pod {
        self.pods.iter().find(|pod| pod.name() == name).unwrap()
    }

    /// Puts what the compiler makes of these objects into both nodes.
    pub(crate) fn enforce(&self, objects: &Objects) {
        self.enforce_translation(&objects.translation());
    }

    /// Puts a translation into both nodes.
    pub(crate) fn enforce_translation(&self, translation: &Translation) {
        for node in &self.nodes {
            node.nft(&script(translation, node)).unwrap();
        }
    }

    /// Tries every pair over these services and says where the network differs from what `allowed` says.
    pub(crate) fn wrong(&self, services: &[(Protocol, u16)], allowed: impl Fn(&Flow) -> bool) -> Vec<String> {
        let matrix = Matrix::between(&self.pods, &self.pods, services);
        let measured = matrix.run().unwrap();
        let wrong = wrong(&measured, allowed);
        told(measured.len(), wrong.len());
        wrong
    }
}

/// Says how many flows were tried, for `deploy/kernels`, which adds them up.
pub(crate) fn told(tried: usize, wrong: usize) {
    println!("flows: {tried} tried, {wrong} wrong");
}

/// A node's full script.
pub(crate) fn script(translation: &Translation, node: &Node) -> String {
    let name = NodeName::new(node.name()).unwrap();
    let rendered = render(&translation.output(&name));
    String::from_utf8(rendered.bytes().to_vec()).unwrap()
}
