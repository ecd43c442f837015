//! Ports of bridges: what is laid out of them, and that a pod that comes or goes changes its own elements alone.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as tests do")]

#[path = "support/objects.rs"]
mod objects;

use std::sync::Arc;

use flock_compiler_core::object::{Bridge, BridgeNf, Facts, HostInterface, Pod, PodNetwork};
use flock_compiler_core::output::Output;
use flock_compiler_core::{Change, Edit, Translator, diff, render};

use objects::{deny, name, node, pod_key};

fn pod(pod: &str, addresses: &[&str], interface: Option<HostInterface>) -> Change {
    let addresses = addresses.iter().map(|at| at.parse().unwrap()).collect();
    Change::Pod(Edit::Upsert(Pod {
        node: Some(name(1)),
        network: PodNetwork::own(addresses, interface),
        ..Pod::new(pod_key("shop", pod))
    }))
}

fn computed(name: &str) -> Option<HostInterface> {
    Some(HostInterface::Computed(name.parse().unwrap()))
}

fn bridge() -> Change {
    let bridge = Bridge {
        name: "cni0".parse().unwrap(),
        addresses: vec!["10.244.1.1/24".parse().unwrap()],
        links: [].into(),
        uplinks: [].into(),
    };
    let (bridge_nf_v4, bridge_nf_v6) = (BridgeNf::On, BridgeNf::On);
    let facts = Facts { bridges: vec![bridge], bridge_nf_v4, bridge_nf_v6, ..Facts::nothing_of(name(1)) };
    Change::Facts(Edit::Upsert(facts))
}

/// The node, with these changes.
fn output(changes: impl IntoIterator<Item = Change>) -> Arc<Output> {
    let mut translator = Translator::new();
    translator.apply(Change::Node(Edit::Upsert(node(1))));
    for change in changes {
        translator.apply(change);
    }
    translator.pass();
    translator.output(&name(1)).unwrap()
}

/// The table of family bridge in the node's script; empty where there is none.
fn bridge_table(output: &Output) -> String {
    let script = String::from_utf8(render(output).bytes().to_vec()).unwrap();
    let begin = script.find("table bridge flock_netpol {\n");
    begin.map_or_else(String::new, |begin| script[begin..].split("\n}\n").next().unwrap().to_owned())
}

const WEB: [&str; 3] = ["10.244.1.2", "10.244.1.22", "fd00:10:244:1::2"];

#[test]
fn ports_are_checked_whether_or_not_anything_is_isolated() {
    let expected = "table bridge flock_netpol {
	set pod_ports {
		typeof iifname
		elements = {
			\"vweb\"
		}
	}
	set port_addresses4 {
		typeof iifname . ip saddr
		elements = {
			\"vweb\" . 10.244.1.2, \"vweb\" . 10.244.1.22
		}
	}
	set port_addresses6 {
		typeof iifname . ip6 saddr
		elements = {
			\"vweb\" . fd00:10:244:1::2
		}
	}
	set port_targets6 {
		typeof iifname . @th,64,128
		elements = {
			\"vweb\" . 0xfd000010024400010000000000000002
		}
	}
	chain from_ports {
		type filter hook prerouting priority dstnat; policy accept;
		iifname @pod_ports goto from_port
	}
	chain from_port {
		ether type { 8021q, 8021ad } counter drop
		iifname . ip saddr @port_addresses4 accept
		icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect } goto neighbours
		ether type ip6 goto from_port6
		iifname . arp saddr ip @port_addresses4 accept
		arp saddr ip 0.0.0.0 accept
		ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp dport 67 accept
		ether type { ip, arp } counter drop
	}
	chain neighbours {
		icmpv6 type { nd-router-advert, nd-redirect } counter drop
		icmpv6 type nd-neighbor-solicit ip6 saddr != :: goto from_port6
		iifname . @th,64,128 @port_targets6 goto from_port6
		@th,64,16 0xfe80-0xfebf goto from_port6
		counter drop
	}
	chain from_port6 {
		frag nexthdr { 0, 43, 44, 60 } counter drop
		iifname . ip6 saddr @port_addresses6 accept
		ip6 saddr fe80::/10 ip6 daddr { fe80::/10, ff02::/16 } accept
		ip6 saddr :: icmpv6 type nd-neighbor-solicit accept
		ip6 saddr :: icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } accept
		counter drop
	}
	chain to_ports {
		type filter hook postrouting priority filter; policy accept;
		oifname @pod_ports goto to_port
	}
	chain to_port {
		oifname . ip daddr @port_addresses4 accept
		oifname . ip6 daddr @port_addresses6 accept
		ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 accept
		ip6 daddr fe80::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff accept
		ip daddr 224.0.0.0-255.255.255.255 accept
		ether type { ip, ip6 } counter drop
	}";
    assert_eq!(bridge_table(&output([bridge(), pod("web", &WEB, computed("vweb"))])), expected);
}

#[test]
fn no_port_is_checked_that_is_not_known_to_be_a_pods() {
    let claimed = HostInterface::Claimed("vweb".parse().unwrap());
    let empty = "table bridge flock_netpol {";
    assert_eq!(bridge_table(&output([bridge(), pod("web", &WEB, Some(claimed))])), empty, "a claim");
    assert_eq!(bridge_table(&output([bridge(), pod("web", &WEB, None)])), empty, "nothing is known");
    assert_eq!(bridge_table(&output([pod("web", &WEB, computed("vweb"))])), "", "no bridge is");
}

#[test]
fn a_pod_that_comes_or_goes_changes_its_own_elements() {
    let web = || pod("web", &WEB, computed("vweb"));
    let api = || pod("api", &["10.244.1.3", "fd00:10:244:1::3"], computed("vapi"));
    for deny in [None, Some(Change::Policy(Edit::Upsert(deny("shop"))))] {
        let one = output([bridge(), web()].into_iter().chain(deny.clone()));
        let two = output([bridge(), web(), api()].into_iter().chain(deny.clone()));
        let [comes, goes] = [(&one, &two), (&two, &one)].map(|(before, after)| {
            let delta = diff(before, after).unwrap();
            delta.node_rules.write() + &delta.parts.write()
        });
        for other in ["vweb", "1.2 ", "chain ", "delete set", "delete map", "delete table"] {
            assert!(!comes.contains(other) && !goes.contains(other), "{other}: {comes}{goes}");
        }
        assert!(!comes.contains("delete "), "{comes}");
        assert!(!goes.contains("table bridge flock_netpol {"), "{goes}");
        let of_ports = |set: &str, element: &str| {
            let added = format!("\tset {set} {{\n\t\ttypeof iifname");
            let added =
                comes.split_once(&added).and_then(|(_, rest)| rest.split_once("elements = {\n\t\t\t"));
            let added = added.and_then(|(_, rest)| rest.split_once("\n\t\t}"));
            assert_eq!(added.map(|(elements, _)| elements), Some(element), "{comes}");
            let deleted = format!("delete element bridge flock_netpol {set} {{ {element} }}\n");
            assert!(goes.contains(&deleted), "{goes}");
        };
        of_ports("pod_ports", "\"vapi\"");
        of_ports("port_addresses4", "\"vapi\" . 10.244.1.3");
        of_ports("port_addresses6", "\"vapi\" . fd00:10:244:1::3");
        of_ports("port_targets6", "\"vapi\" . 0xfd000010024400010000000000000003");
    }
}
