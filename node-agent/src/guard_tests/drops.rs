//! What is taken down and shown of drops: these lines, where what they are about is dropped, and nothing like them.

use super::*;

const KEY: &str = "ip saddr . ip daddr . meta l4proto . th dport";

/// A set of flows with these properties.
fn set(name: &str, properties: &str) -> String {
    let properties: String = properties.lines().map(|line| format!("\t\t{line}\n")).collect();
    full(&format!("\tset {name} {{\n\t\ttypeof {KEY}\n{properties}\t}}\n"))
}

#[test]
fn what_takes_down_and_shows_drops_passes_where_they_are_dropped() {
    let update = format!("update @ingress_drops4 {{ {KEY} counter }}");
    let rules = [
        format!("{KEY} != @ingress_drops4 goto ingress_unkept4"),
        format!("{update} counter drop"),
        "counter drop".to_owned(),
    ];
    passes(&full(&chain("ingress_denied", &rules.join("\n"))));
    let rules = [
        "meta l4proto != { tcp, udp, sctp } goto ingress_portless4",
        "update @ingress_drop_sources4 { ip saddr limit rate over 256/minute burst 256 packets } counter drop",
        "limit rate 100/second burst 100 packets log group 47117 snaplen 128",
        &update,
        "counter drop",
    ];
    passes(&full(&chain("ingress_unkept4", &rules.join("\n"))));
    let costs = passes(&set("ingress_drops4", "size 4096\nflags dynamic,timeout\ntimeout 1m"));
    assert_eq!(costs.totals().elements, 4096, "packets may fill it at any time");
}

#[test]
fn nothing_else_is_logged_or_taken_down() {
    for rule in [
        "log",
        "log group 47117",
        "log group 47117 snaplen 128",
        "log prefix \"x\" group 47117 snaplen 128",
        "limit rate 100/second burst 100 packets log",
        "limit rate 100/second burst 100 packets log group 47117",
        "limit rate 100/second burst 100 packets log group 1 snaplen 128",
        "limit rate 100/second burst 100 packets log group 47117 snaplen 65535",
        "limit rate 1000/second burst 100 packets log group 47117 snaplen 128",
        "limit rate 100/second burst 100 packets log group 47117 snaplen 128 accept",
        "limit rate over 100/second burst 100 packets drop",
        "meta nftrace set 1",
        "update @ingress_drops4 { ip saddr . ip daddr . meta l4proto . th dport }",
        "update @ingress_drops4 { ip saddr . ip daddr . meta l4proto . th dport counter } accept",
        "update @ingress_drops4 { ip saddr . ip daddr . meta l4proto . th dport timeout 1h counter }",
        "add @ingress_drops4 { ip saddr . ip daddr . meta l4proto . th dport counter }",
        "delete @ingress_drops4 { ip saddr . ip daddr . meta l4proto . th dport }",
        "update @ingress4 { ip saddr . ip daddr . meta l4proto . th dport counter }",
        "ip saddr . ip daddr . meta l4proto . th dport @ingress_drops4 accept",
        "ip saddr @ingress_drop_sources4 accept",
    ] {
        for name in ["ingress_denied", "ingress_unkept4", RULES] {
            assert_eq!(unreadable(&full(&chain(name, rule))), 5, "{rule}");
        }
    }
}

#[test]
fn nobody_is_shown_what_passes() {
    for rule in [
        "limit rate 100/second burst 100 packets log group 47117 snaplen 128",
        "update @ingress_drops4 { ip saddr . ip daddr . meta l4proto . th dport counter }",
        "update @ingress_drops4 { ip saddr . ip daddr . meta l4proto . th dport counter } counter drop",
        "update @ingress_drop_sources4 { ip saddr limit rate over 256/minute burst 256 packets } counter drop",
        "ip saddr . ip daddr . meta l4proto . th dport != @ingress_drops4 accept",
    ] {
        for name in [RULES, "egress_denied", "egress_unkept4", "midstream", "tunnel_ends"] {
            let Refused { line, why } = refused(&full(&chain(name, rule)));
            assert!(
                line == 5 && matches!(&why, Why::Drops(chain) if chain.to_string() == name),
                "{rule}: {why}"
            );
        }
        passes(&full(&chain("ingress_denied", rule)));
    }
}

#[test]
fn sets_of_drops_are_as_large_as_they_are_and_scripts_say_nothing_that_is_in_them() {
    for (properties, line) in [
        ("size 65535\nflags dynamic,timeout\ntimeout 1m", 6),
        ("size 4096\nflags timeout\ntimeout 1m", 7),
        ("size 4096\nflags dynamic,timeout\ntimeout 1h", 8),
        ("flags dynamic,timeout", 6),
        ("size 4096\nflags dynamic,timeout", 8),
    ] {
        assert_eq!(unreadable(&set("ingress_drops4", properties)), line, "{properties}");
    }
    let element = "10.0.0.1 . 10.0.0.2 . tcp . 80";
    let deletion = format!("delete element inet flock_netpol ingress_drops4 {{ {element} }}\n");
    assert_eq!(unreadable(&deletion), 1);
    let filled = format!("size 4096\nflags dynamic,timeout\ntimeout 1m\nelements = {{\n\t{element}\n}}");
    assert_eq!(unreadable(&set("ingress_drops4", &filled)), 10);
}
