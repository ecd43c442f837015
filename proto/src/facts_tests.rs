use prost::Message as _;

use super::*;

fn facts() -> NodeFacts {
    let port = |name: &str, kind| BridgePort { name: name.into(), kind };
    let ports = vec![
        port("eth1", PortKind::Physical),
        port("tap0", PortKind::Other),
        port("veth1", PortKind::Veth),
        port("vxlan0", PortKind::Vxlan),
    ];
    let addresses = ["10.244.1.1/24", "fd00:10:244:1::1/64"].map(|text| text.parse().unwrap());
    NodeFacts {
        bridges: vec![
            Bridge { name: "cni0".into(), addresses: addresses.into(), ports },
            Bridge { name: "docker0".into(), addresses: BTreeSet::new(), ports: Vec::new() },
        ],
        bridge_nf_v4: BridgeNf::On,
        bridge_nf_v6: BridgeNf::Off,
        tunnel_ports: [4789, 8472].into(),
        accept_source_route: true,
        ipvs: true,
        flowtables: ["inet calico ft".to_owned()].into(),
        netkit: true,
        openvswitch: true,
        bypassed: true,
        enforcers: ["Calico".to_owned(), "kube-router".to_owned()].into(),
    }
}

fn wire() -> v1::NodeFacts {
    facts().into()
}

#[test]
fn survives_the_wire() {
    for facts in [facts(), NodeFacts::default()] {
        assert_eq!(NodeFacts::try_from(v1::NodeFacts::from(facts.clone())), Ok(facts));
    }
    for setting in [BridgeNf::On, BridgeNf::Off, BridgeNf::Absent] {
        assert_eq!(BridgeNf::try_from(i32::from(v1::BridgeNf::from(setting))), Ok(setting));
    }
}

/// As many as there can be of everything, each as long as it can be.
fn most() -> NodeFacts {
    let ports = |bridge: usize| {
        let name = |port| format!("p{bridge:06}x{port:07}");
        (0..8).map(|port| BridgePort { name: name(port), kind: PortKind::Vxlan }).collect()
    };
    let addresses = |bridge: usize| {
        let address =
            |n: usize| format!("fd00:1111:2222:3333:4444:5555:{bridge:x}:f00{n}/128").parse().unwrap();
        (0..4).map(address).collect()
    };
    let bridge = |n| Bridge { name: format!("b{n:014}"), addresses: addresses(n), ports: ports(n) };
    NodeFacts {
        bridges: (1000..2000).map(bridge).collect(),
        tunnel_ports: (40_000..u16::MAX).collect(),
        flowtables: (10..99).map(|n| format!("{n} {}", "ä".repeat(200))).collect(),
        enforcers: (10..99).map(|n| format!("{n} {}", "ä".repeat(200))).collect(),
        ..facts()
    }
}

#[test]
fn what_is_too_much_is_left_out_when_sent_and_fits_in_a_message_of_an_agent() {
    let wire = v1::NodeFacts::from(most());
    let sent = NodeFacts::try_from(wire.clone()).unwrap();
    let addresses: usize = sent.bridges.iter().map(|bridge| bridge.addresses.len()).sum();
    let ports: usize = sent.bridges.iter().map(|bridge| bridge.ports.len()).sum();
    assert_eq!((sent.bridges.len(), addresses, ports), (BRIDGES, ADDRESSES, PORTS));
    assert_eq!((sent.tunnel_ports.len(), sent.flowtables.len()), (TUNNEL_PORTS, FLOWTABLES));
    assert_eq!(sent.enforcers.len(), ENFORCERS);
    // A compiler takes messages of 64 KiB, and a hello says more than this.
    assert!(wire.encoded_len() < 55 * 1024, "{}", wire.encoded_len());
}

fn refused(change: impl FnOnce(&mut v1::NodeFacts)) -> WireError {
    let mut facts = wire();
    change(&mut facts);
    NodeFacts::try_from(facts).unwrap_err()
}

#[test]
fn more_than_allowed_is_refused() {
    let bridge = |n: usize| v1::Bridge { name: format!("b{n:04}"), ..v1::Bridge::default() };
    let port = |n: usize| v1::BridgePort { name: format!("p{n:04}"), kind: 1 };
    let many: [(&str, usize, WireError); 6] = [
        ("bridges", BRIDGES, refused(|facts| facts.bridges = (0..=BRIDGES).map(bridge).collect())),
        (
            "bridges.addresses",
            ADDRESSES,
            refused(|facts| facts.bridges[0].addresses = vec![String::new(); ADDRESSES + 1]),
        ),
        (
            "bridges.ports",
            PORTS,
            refused(|facts| facts.bridges[1].ports = (0..PORTS - 3).map(port).collect()),
        ),
        ("tunnel_ports", TUNNEL_PORTS, refused(|facts| facts.tunnel_ports = vec![1; TUNNEL_PORTS + 1])),
        ("flowtables", FLOWTABLES, refused(|facts| facts.flowtables = vec![String::new(); FLOWTABLES + 1])),
        ("enforcers", ENFORCERS, refused(|facts| facts.enforcers = vec![String::new(); ENFORCERS + 1])),
    ];
    for (field, limit, error) in many {
        assert_eq!(error, FactsError::TooMany { field, count: limit + 1, limit }.into());
    }
}

#[test]
fn what_is_no_fact_is_refused() {
    let long = "x".repeat(16);
    let too_long = |field, length, limit| WireError::TooLong { field, length, limit };
    let name = "facts.bridges.name";
    assert_eq!(refused(|facts| facts.bridges[0].name = long.clone()), too_long(name, 16, 15));
    let port = "facts.bridges.ports.name";
    assert_eq!(
        refused(|facts| facts.bridges[0].ports.last_mut().unwrap().name = "y".repeat(16)),
        too_long(port, 16, 15)
    );
    let unprintable = refused(|facts| facts.bridges[0].name = "a\u{1b}".into());
    assert_eq!(unprintable, WireError::Unprintable { field: name });
    let empty = refused(|facts| facts.bridges[0].name = String::new());
    assert_eq!(empty, FactsError::Empty { field: "bridges.name" }.into());
    let flowtable = refused(|facts| facts.flowtables = vec!["x".repeat(129)]);
    assert_eq!(flowtable, too_long("facts.flowtables", 129, 128));
    let enforcer = refused(|facts| facts.enforcers = vec!["x".repeat(65)]);
    assert_eq!(enforcer, too_long("facts.enforcers", 65, 64));
    let unprintable = refused(|facts| facts.enforcers = vec!["a\u{1b}".into()]);
    assert_eq!(unprintable, WireError::Unprintable { field: "facts.enforcers" });
    for found in [0, 65_536] {
        let error = refused(|facts| facts.tunnel_ports = vec![found]);
        assert_eq!(error, FactsError::Port { found }.into());
    }
    for text in ["10.0.0.1", "10.0.0.1/33", "", "x/8"] {
        let error = refused(|facts| facts.bridges[1].addresses = vec![text.into()]);
        assert_eq!(error, FactsError::Address.into(), "{text}");
    }
    for value in [0, 4, -1] {
        let error = FactsError::BridgeNf { value };
        assert_eq!(refused(|facts| facts.bridge_nf_call_iptables = value), error.clone().into());
        assert_eq!(refused(|facts| facts.bridge_nf_call_ip6tables = value), error.into());
    }
}

/// Equal facts are equal messages: what has an order is in it, and nothing is there twice.
#[test]
fn what_is_not_in_order_is_refused() {
    type Change = fn(&mut v1::NodeFacts);
    let changes: [(&str, Change); 7] = [
        ("bridges", |facts| facts.bridges.reverse()),
        ("bridges", |facts| facts.bridges[1] = facts.bridges[0].clone()),
        ("bridges.addresses", |facts| facts.bridges[0].addresses.reverse()),
        ("bridges.ports", |facts| facts.bridges[0].ports.reverse()),
        ("tunnel_ports", |facts| facts.tunnel_ports.reverse()),
        ("flowtables", |facts| facts.flowtables = vec!["x".into(); 2]),
        ("enforcers", |facts| facts.enforcers.reverse()),
    ];
    for (field, change) in changes {
        assert_eq!(refused(change), FactsError::Order { field }.into());
    }
}

#[test]
fn a_port_of_a_kind_that_is_not_known_is_another_one() {
    let mut facts = wire();
    facts.bridges[0].ports[0].kind = 99;
    assert_eq!(NodeFacts::try_from(facts).unwrap().bridges[0].ports[0].kind, PortKind::Other);
}
