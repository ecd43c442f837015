//! Every way of a call through real plugins: what the agent is told is what the kernel has.

use std::fs;

use flock_lab::{Namespace, Probe, Protocol, Verdict};
use flock_shared::PodKey;
use flock_shared::cni::{Call, Sandbox, SandboxId};
use serde_json::json;

use crate::agent::{Agent, done};
use crate::stage::{Main, Stage, addresses};

/// A number that `ip` shows of a link: its own, or that of its other end.
fn index(namespace: &Namespace, link: &str, key: &str) -> u64 {
    let shown = namespace.run("ip", &["-j", "-d", "link", "show", "dev", link], "").unwrap();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    shown[0][key].as_u64().unwrap_or_else(|| panic!("{key}: {shown}"))
}

fn id(name: &str) -> SandboxId {
    SandboxId::new(&format!("box-{name}")).unwrap()
}

fn every_way(tag: &str, main: Main) {
    let Some(stage) = Stage::new(tag) else { return };
    // The address is still taken when the agent is told that its pod is gone.
    let leases = stage.leases();
    let agent = Agent::start(&stage.socket(), move |call| {
        let taken = |at: &str| leases.join(at).exists();
        assert!(!matches!(call, Call::Del(_)) || (taken("10.9.0.2") && taken("fd00:9::2")), "{call:?}");
        Some(done())
    });
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let runtime = stage.runtime(main, version, &json!({}));
        let (pod, attachment) = stage.pod("web");
        let results = runtime.add_each(&attachment).unwrap();
        let [.., before, own] = &results[..] else { panic!("{results:?}") };
        assert_eq!(before, own, "{version}: handed on byte by byte");
        let [Call::Add(told)] = &agent.asked()[..] else { panic!("{version}: one call") };
        let interface = told.interface.clone().unwrap();
        let expected = Sandbox {
            id: id("web"),
            pod: PodKey::new("shop", "web").unwrap(),
            uid: Some("uid-web".to_owned()),
            addresses: ["10.9.0.2", "fd00:9::2"].map(|address| address.parse().unwrap()).to_vec(),
            interface: Some(interface.clone()),
        };
        assert_eq!((told, addresses(own)), (&expected, expected.addresses.clone()), "{version}");
        // What the kernel says: the two are the ends of one pair.
        let node = stage.node.namespace();
        assert_eq!(
            index(&pod, "eth0", "link_index"),
            index(node, &interface, "ifindex"),
            "{version}: {interface}"
        );

        pod.serve(&[(Protocol::Tcp, 80)]).unwrap();
        for address in expected.addresses {
            let verdict = Probe::new(&stage.node, Protocol::Tcp, address, 80).run().unwrap();
            assert_eq!(verdict, Verdict::Reached, "{version}: {address}");
        }
        if version != "0.3.1" {
            runtime.check(&attachment).unwrap();
            assert_eq!(agent.asked(), [], "nobody is asked");
        }
        runtime.del(&attachment).unwrap();
        assert_eq!(agent.asked(), [Call::Del(id("web"))]);
        assert!(!stage.leases().join("10.9.0.2").exists());
        // Twice, and with nothing remembered.
        runtime.del(&attachment).unwrap_or_else(|error| panic!("{version}: {error}"));
        drop(pod);
        fs::remove_dir_all(stage.leases()).unwrap();
        agent.asked();
    }
}

#[test]
fn a_pod_behind_ptp() {
    every_way("cni-ptp", Main::Ptp);
}

#[test]
fn a_pod_behind_bridge() {
    every_way("cni-bridge", Main::Bridge);
}

#[test]
fn many_at_once_each_with_its_own() {
    const PODS: usize = 24;
    let Some(stage) = Stage::new("cni-many") else { return };
    let agent = Agent::start(&stage.socket(), |_| Some(done()));
    let runtime = stage.runtime(Main::Ptp, "1.0.0", &json!({}));
    let pods: Vec<_> = (0..PODS).map(|number| stage.pod(&format!("pod{number}"))).collect();
    std::thread::scope(|scope| {
        for (_, attachment) in &pods {
            scope.spawn(|| runtime.add(attachment).unwrap());
        }
    });
    let told = agent.asked();
    for (number, (pod, attachment)) in pods.iter().enumerate() {
        let own = told.iter().find_map(|call| match call {
            Call::Add(sandbox) if sandbox.id == id(&format!("pod{number}")) => Some(sandbox),
            _ => None,
        });
        let own = own.unwrap();
        assert_eq!(own.addresses, addresses(&runtime.result(attachment).unwrap()));
        let interface = own.interface.as_deref().unwrap();
        assert_eq!(index(pod, "eth0", "link_index"), index(&stage.node, interface, "ifindex"));
    }
    std::thread::scope(|scope| {
        for (_, attachment) in &pods {
            scope.spawn(|| runtime.del(attachment).unwrap());
        }
    });
    assert_eq!((told.len(), agent.asked().len()), (PODS, PODS));
}
