//! The demo's network: nodes and pods of the scenario, and what can be asked of them.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use flock_lab::{Lab, Matrix, Node, OpenConnection, Pod, Probe, Protocol};

use crate::interrupt::Interrupt;
use crate::matrix::Measured;
use crate::scenario::{NODES, PODS, PodPlan, columns};

/// Nodes, pods and their servers. Dropping it removes them.
pub(crate) struct Network {
    pub(crate) nodes: Vec<Node>,
    pods: Vec<Pod>,
    _lab: Lab,
}

impl Network {
    /// Builds it all.
    pub(crate) fn build(interrupt: &Interrupt) -> Result<Self> {
        let lab = Lab::new("demo")?;
        let mut nodes = Vec::new();
        for name in NODES {
            interrupt.check()?;
            nodes.push(lab.node(name)?);
        }
        let mut pods = Vec::new();
        for plan in &PODS {
            interrupt.check()?;
            pods.push(pod(&nodes, plan)?);
        }
        Ok(Self { nodes, pods, _lab: lab })
    }

    /// Sends a probe for every cell, in both families, from a source to everybody else.
    pub(crate) fn measure(&self, interrupt: &Interrupt) -> Result<Measured> {
        interrupt.check()?;
        let mut matrix = Matrix::default();
        for source in &self.pods {
            for column in columns().iter().filter(|column| column.pod.name != source.name()) {
                for address in [column.pod.v4, column.pod.v6] {
                    let probe = Probe::new(source, column.protocol, address.parse()?, column.port);
                    matrix.add(column.pod.name, probe);
                }
            }
        }
        Ok(Measured::new(matrix.run()?))
    }

    /// Opens a TCP connection, to be held.
    pub(crate) fn hold(&self, (from, to, port): (&str, &str, u16)) -> Result<OpenConnection> {
        let (source, target) = (self.pod(from)?, self.first_address(to)?);
        Ok(OpenConnection::open(source, Protocol::Tcp, target, port)?)
    }

    /// Tries to connect until it works, and says when it did.
    pub(crate) fn first_success(
        &self,
        (from, to, port): (&str, &str, u16),
        patience: Duration,
        interrupt: &Interrupt,
    ) -> Result<Instant> {
        let target = SocketAddr::new(self.first_address(to)?, port);
        let start = Instant::now();
        let attempts = || -> io::Result<Option<Instant>> {
            while start.elapsed() < patience && !interrupt.seen() {
                // A try of its own each time: the kernel repeats a SYN that was dropped only after a second.
                match TcpStream::connect_timeout(&target, Duration::from_millis(30)) {
                    Ok(_) => return Ok(Some(Instant::now())),
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                    Err(_) => thread::sleep(Duration::from_millis(10)),
                }
            }
            Ok(None)
        };
        match self.pod(from)?.enter(attempts)?? {
            Some(at) => Ok(at),
            None => {
                interrupt.check()?;
                bail!("{from} did not reach {to} within {} s", patience.as_secs());
            }
        }
    }

    /// Makes one more pod.
    pub(crate) fn add(&self, plan: &PodPlan) -> Result<Pod> {
        pod(&self.nodes, plan)
    }

    /// The addresses of a pod with a port.
    pub(crate) fn targets(&self, (pod, port): (&str, u16)) -> Result<Vec<SocketAddr>> {
        Ok(self.pod(pod)?.addresses().into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    fn pod(&self, name: &str) -> Result<&Pod> {
        self.pods.iter().find(|pod| pod.name() == name).with_context(|| format!("the demo has no pod {name}"))
    }

    fn first_address(&self, pod: &str) -> Result<IpAddr> {
        self.pod(pod)?.addresses().first().copied().with_context(|| format!("pod {pod} has no address"))
    }
}

fn pod(nodes: &[Node], plan: &PodPlan) -> Result<Pod> {
    let node = nodes.iter().find(|node| node.name() == plan.node);
    let node = node.with_context(|| format!("the demo has no node {}", plan.node))?;
    let pod = node.pod(plan.name, &[plan.v4.parse()?, plan.v6.parse()?])?;
    let services: Vec<_> = plan.ports.iter().map(|&(_, protocol, port)| (protocol, port)).collect();
    pod.serve(&services)?;
    Ok(pod)
}
