//! The two nodes on which is measured: one routes between the two pods that talk, the other has them on a bridge.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use flock_lab::{Lab, Node, Pod, PodSpec};

use crate::measure::{Client, Figure, Server, Work};
use crate::{CLIENT, SERVER};

/// The bridge of the second node.
pub(crate) const BRIDGE: &str = "cni0";
pub(crate) const BRIDGE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 254);
pub(crate) const BRIDGE_PREFIX: u8 = 24;

/// How often what is late is tried.
const TRIES: usize = 3;

/// A node with the two pods that talk.
pub(crate) struct Stage {
    node: Node,
    client: Client,
    _server: Server,
}

impl Stage {
    /// Behind a veth each, with routes between them.
    pub(crate) fn routed(lab: &Lab, window: Duration) -> anyhow::Result<Self> {
        let node = lab.node("routes")?;
        let pod = |name, address| {
            node.pod(name, &[IpAddr::V4(address)]).with_context(|| format!("cannot make the pod {name}"))
        };
        let (client, server) = (pod("client", CLIENT)?, pod("server", SERVER)?);
        Self::of(node, &client, &server, window)
    }

    /// On one bridge, which shows the rules what it forwards.
    pub(crate) fn bridged(lab: &Lab, window: Duration) -> anyhow::Result<Self> {
        let node = lab.node("bridges")?;
        let show = || std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "1");
        node.enter(show)?
            .context("needs the kernel's br_netfilter for pods on a bridge (--bridged 0 is without)")?;
        node.ip(&[
            format!("link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"),
            format!("address add {BRIDGE_ADDRESS}/{BRIDGE_PREFIX} dev {BRIDGE}"),
            format!("link set dev {BRIDGE} up"),
        ])?;
        let pod = |name: &str, address: Ipv4Addr| -> anyhow::Result<Pod> {
            let spec = PodSpec { addresses: Vec::new(), host_interface: Some(format!("veth-{name}")) };
            let pod = node.pod_with(&format!("bridged-{name}"), &spec)?;
            pod.ip(&[format!("address add {address}/{BRIDGE_PREFIX} dev eth0")])?;
            node.ip(&[format!("link set dev {} master {BRIDGE}", pod.host_interface())])?;
            Ok(pod)
        };
        let (client, server) = (pod("client", CLIENT)?, pod("server", SERVER)?);
        Self::of(node, &client, &server, window)
    }

    fn of(node: Node, client: &Pod, server: &Pod, window: Duration) -> anyhow::Result<Self> {
        // Closed connections are forgotten at once, so that every round meets an equally small table.
        node.run("sysctl", &["-q", "-w", "net.netfilter.nf_conntrack_tcp_timeout_close=1"], "").ok();
        let server = Server::start(server)?;
        let client = Client::start(client, IpAddr::V4(SERVER), window)?;
        Ok(Self { node, client, _server: server })
    }

    /// Puts a ruleset in place of the one that there is.
    pub(crate) fn enforce(&self, clean: &str, script: &str) -> anyhow::Result<()> {
        self.node.nft(clean)?;
        Ok(self.node.nft(script)?)
    }

    /// Repetitions per second under a ruleset that is in place; nothing where this machine is busy with something else, which
    /// is tried a few times.
    ///
    /// # Errors
    /// When it is the ruleset: without it nothing is late.
    pub(crate) fn measure(&mut self, work: Work, clean: &str, script: &str) -> anyhow::Result<Option<f64>> {
        let mut late = String::new();
        for _ in 0..TRIES {
            match self.client.measure(work)? {
                Figure::Rate(rate) => return Ok(Some(rate)),
                Figure::Stalled(what) => late = what,
            }
            self.node.nft(clean)?;
            let without = self.client.measure(Work::Connections)?;
            self.enforce(clean, script)?;
            if matches!(without, Figure::Stalled(_)) {
                return Ok(None);
            }
        }
        bail!("{late}; {TRIES} times, and never without the ruleset")
    }
}
