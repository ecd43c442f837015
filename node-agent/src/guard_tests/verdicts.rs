//! Where packets may go: what is opened or closed, ways that end, and whom a rule may be about.

use super::*;

#[test]
fn nothing_opens_or_closes_but_where_it_may() {
    // 4 MB of braces took nft 1.2 GB.
    for deep in ["{ ".repeat(2 << 20), "\t".repeat(4 << 20), "(".repeat(4 << 20)] {
        assert!(matches!(refused(&format!("{deep}\n")).why, Why::Unreadable(_)));
        assert!(matches!(refused(&with_rule(&format!("ip saddr {deep} accept"))).why, Why::Unreadable(_)));
    }
    let whole = with_rule("accept");
    for length in whole.len() - 16..whole.len() {
        let cut = whole.get(..length).unwrap();
        assert!(check(&Costs::default(), cut.as_bytes()).is_err(), "{cut}");
    }
}

#[test]
fn a_packets_way_ends_and_is_short() {
    let jumps = |from: &str, to: &str, count: usize| chain(from, &format!("jump {to}\n").repeat(count));
    // 16 to the power of 6 jumps.
    let deep: String = (1..=6)
        .map(|level| jumps(&format!("ingress_{level:032x}"), &format!("ingress_{:032x}", level + 1), 16))
        .collect();
    assert!(matches!(refused(&full(&deep)), Refused { line: 5, why: Why::Way { .. } }));
    for (from, rule) in [
        (RULES, "goto ingress_00000000000000000123456789abcdef"),
        (RULES, "goto ingress_0000000000000000aaaaaaaaaaaaaaaa"),
        (RULES, "goto ingress"),
        (RULES, "counter jump ingress_denied"),
        (RULES, "ip saddr vmap @ingress4"),
        ("ingress_denied", "goto ingress_denied"),
        ("ingress_denied", "meta nfproto vmap @open"),
        ("ingress_peers_00000000000000000123456789abcdef", "goto ingress_00000000000000000123456789abcdef"),
        (
            "ingress_peers_00000000000000000123456789abcdef",
            "goto ingress_peers_00000000000000000123456789abcdee",
        ),
        ("ingress_all_0a000001", "jump ingress_00000000000000000123456789abcdef"),
        ("ingress_all_0a000001", "jump ingress_all_0a000002"),
        ("ingress_all_0a000001", "jump ingress_denied"),
    ] {
        let script = full(&chain(from, rule));
        assert!(matches!(refused(&script), Refused { line: 5, why: Why::Way { .. } }), "{script}");
    }
    for verdict in ["jump ingress_denied", "goto ingress"] {
        let map =
            format!("\t\ttypeof ip saddr : verdict\n\t\telements = {{\n\t\t\t10.0.0.1 : {verdict}\n\t\t}}\n");
        let script = full(&format!("\tmap ingress4 {{\n{map}\t}}\n"));
        assert!(matches!(refused(&script), Refused { line: 7, why: Why::Way { .. } }), "{script}");
    }
    let gates =
        |count| full(&jumps("ingress_all_0a000001", "ingress_00000000000000000123456789abcdef_gate", count));
    passes(&gates(8));
    assert!(matches!(refused(&gates(100)).why, Why::TooMany { .. }));
    assert!(matches!(refused(&with_rule(&"accept\n".repeat(100))).why, Why::TooMany { .. }));
}

#[test]
fn packets_of_the_node_meet_nothing_but_interfaces_of_pods() {
    let anchor = |rule: &str| {
        full(&chain("anchor", &format!("type filter hook prerouting priority raw; policy accept;\n{rule}")))
    };
    passes(&anchor("iifname @interfaces goto anchor_interfaces"));
    for rule in
        ["counter drop", "ct direction reply drop", "ip saddr 10.0.0.0/8 drop", "goto anchor_interfaces"]
    {
        assert!(matches!(refused(&anchor(rule)), Refused { line: 6, why: Why::Entering(_) }), "{rule}");
    }
    let translated = |rule: &str| {
        let hook = "type filter hook prerouting priority dstnat + 10; policy accept;";
        full(&chain("translated", &format!("{hook}\n{rule}")))
    };
    passes(&translated("udp dport { 4789 } iifname @pod_links goto tunnel_ends"));
    passes(&translated("udp dport { 4789 } ct status dnat goto tunnel_ends"));
    for rule in [
        "ct status dnat goto tunnel_ends",
        "udp dport { 4789 } goto tunnel_ends",
        "meta l4proto { 4, 41, 47, 97, 115, 137 } goto tunnel_ends",
        "fib daddr type { local, broadcast, anycast, multicast } counter drop",
    ] {
        assert!(matches!(refused(&translated(rule)), Refused { line: 6, why: Why::Entering(_) }), "{rule}");
    }
}

/// Whatever enters or leaves by any bridge of the node passes there.
#[test]
fn frames_of_others_meet_nothing_but_ports_of_pods() {
    let bridge = |objects: &str| full(objects).replace("inet flock_netpol", "bridge flock_netpol");
    let hooks = [
        ("from_ports", "type filter hook prerouting priority dstnat; policy accept;", "iifname", "from_port"),
        ("to_ports", "type filter hook postrouting priority filter; policy accept;", "oifname", "to_port"),
    ];
    for (name, hook, field, to) in hooks {
        let with = |rule: &str| bridge(&chain(name, &format!("{hook}\n{rule}")));
        passes(&with(&format!("{field} @pod_ports goto {to}")));
        for rule in [
            "counter drop",
            &format!("goto {to}"),
            "ether type arp drop",
            "arp saddr ip 0.0.0.0 drop",
            "@th,64,16 0xfe80-0xfebf drop",
        ] {
            assert!(matches!(refused(&with(rule)), Refused { line: 6, why: Why::Entering(_) }), "{rule}");
        }
        let another = hook.replace("policy accept", "policy drop");
        assert_eq!(unreadable(&bridge(&chain(name, &another))), 5);
        // The other table's objects, and the way back.
        unreadable(&full(&chain(name, hook)));
        assert!(matches!(refused(&with(&format!("{field} @pod_ports goto {name}"))).why, Why::Way { .. }));
    }
    // What a word of nft would name, bytes of a packet that are no target, and numbers that are written otherwise.
    for rule in [
        "icmpv6 taddr fd00::1 accept",
        "iifname . @th,64,120 @port_targets6 accept",
        "iifname . @nh,64,128 @port_targets6 accept",
        "iifname . ip6 saddr @port_targets6 accept",
        "iifname . arp saddr ip @port_addresses6 accept",
        "arp saddr ip 10.0.0.1 accept",
        "ether saddr 02:00:00:00:00:01 accept",
    ] {
        assert_eq!(unreadable(&bridge(&chain("from_port", rule))), 5, "{rule}");
    }
    let set = |elements: &str| {
        let body = format!("typeof iifname . @th,64,128\n\t\telements = {{\n\t\t\t{elements}\n\t\t}}");
        bridge(&format!("\tset port_targets6 {{\n\t\t{body}\n\t}}\n"))
    };
    passes(&set("\"veth1\" . 0xfd000010024400010000000000000002"));
    for element in [
        "\"veth1\" . 0x1",
        "\"veth1\" . 0xFD000010024400010000000000000002",
        "\"veth1\" . 0x+d000010024400010000000000000002",
        "\"veth1\" . fd00:10:244:1::2",
        "\"veth1\" . 1",
    ] {
        assert_eq!(unreadable(&set(element)), 7, "{element}");
    }
}

#[test]
fn a_name_in_quotes_is_an_interfaces() {
    let set = |name: &str| {
        full(&format!(
            "\tset interfaces {{\n\t\ttypeof iifname\n\t\telements = {{\n\t\t\t{name}\n\t\t}}\n\t}}\n"
        ))
    };
    passes(&set("\"include\", \"eth0.100\""));
    for name in
        ["\"a b\"", "\"a*\"", "\"\"", "\"a", "a", "\"0123456789abcdef\"", "\"a\\\"", "\"a\" include \"b\""]
    {
        assert_eq!(unreadable(&set(name)), 7, "{name}");
    }
}
