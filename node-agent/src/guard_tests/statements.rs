//! Statements that an attacker would write: what changes packets, and objects and names that are not ours.

use super::*;

#[test]
fn chains_that_change_packets_are_refused_however_they_are_hidden() {
    for hook in [
        // A hook and a type behind words that look like others.
        "icmp type @filter; type nat hook prerouting priority dstnat; policy accept;",
        "type nat hook prerouting priority dstnat; policy accept;",
        "type route hook output priority 0; policy accept;",
        // Cuts the node itself.
        "type filter hook prerouting priority -300; policy drop;",
        "type filter hook prerouting priority raw; policy drop;",
        "type filter hook input priority filter; policy drop;",
        "type filter hook forward priority filter - 9; policy drop; flags offload;",
        "type filter hook ingress device \"eth0\" priority 0; policy drop;",
    ] {
        for name in ["ingress", "anchor", RULES] {
            assert_eq!(unreadable(&full(&chain(name, hook))), 5, "{hook}");
        }
    }
}

#[test]
fn rules_that_do_more_than_judge_are_refused() {
    for statement in [
        "log",
        "notrack",
        "tproxy to :1",
        "queue",
        "queue num 1 bypass",
        "dnat to 10.0.0.1",
        "snat to 10.0.0.1",
        "masquerade",
        "redirect to :80",
        "dup to 10.0.0.1",
        "fwd to \"eth0\"",
        "reset tcp option timestamp",
        "tcp option maxseg size set 1",
        "meta mark set 1",
        "ct mark set 1",
        "ct helper set \"x\"",
        "ct timeout set \"x\"",
        "meta secmark set 1",
        "tunnel id 1",
        "synproxy mss 1460",
        "flow add @x",
        "add @pods4_00000000000000000123456789abcdef { ip saddr }",
        "update @pods4_00000000000000000123456789abcdef { ip saddr timeout 1h }",
        "limit rate 1/second",
        "quota 1 bytes",
        "reject",
        "continue",
        "counter name \"x\"",
        "comment \"x\"",
    ] {
        // A keyword needs no space before it where nft has read a number.
        for rule in [
            statement.to_owned(),
            format!("{statement} accept"),
            format!("accept; {statement}"),
            format!("meta mark 1{statement} accept"),
            format!("meta priority filter -10{statement} accept"),
            format!("ip saddr 10.0.0.0/8{statement} accept"),
            format!("ip saddr 10.0.0.0/8 {statement} accept"),
            format!("iifname \"x\"{statement} accept"),
            format!("ip saddr @pods4_00000000000000000123456789abcdef {statement}"),
            format!("ct direction reply {statement}"),
            format!("counter {statement}"),
        ] {
            assert_eq!(unreadable(&with_rule(&rule)), 5, "{rule}");
            let rule =
                format!("flush chain inet flock_netpol {RULES}\nadd rule inet flock_netpol {RULES} {rule}\n");
            assert_eq!(unreadable(&rule), 2, "{rule}");
        }
    }
}

#[test]
fn names_that_nft_would_look_up_are_refused() {
    for rule in [
        // nft asks DNS for it.
        "ip saddr attacker.example accept",
        "ip saddr \"attacker.example\" accept",
        "ip daddr localhost accept",
        // And the user database.
        "meta skuid root accept",
        "meta skgid daemon accept",
        "ip dscp af11 accept",
        "rt classid cosmos accept",
        // Services by name.
        "th dport http accept",
    ] {
        assert_eq!(unreadable(&with_rule(rule)), 5, "{rule}");
    }
    let set = |element: &str| {
        let set = "set pods4_00000000000000000123456789abcdef";
        full(&format!("\t{set} {{\n\t\ttypeof ip saddr\n\t\telements = {{\n\t\t\t{element}\n\t\t}}\n\t}}\n"))
    };
    passes(&set("10.0.0.1, 10.0.0.2"));
    for element in [
        "attacker.example",
        "10.0.0.1, attacker.example",
        "10.1",
        "10.0.0.01",
        "0x0a000001",
        "167772161",
        "fd00::1",
        "10.0.0.0/8",
        "10.0.0.1-10.0.0.9",
        "10.0.0.1 timeout 1s",
        "10.0.0.1 comment \"x\"",
        "10.0.0.1,10.0.0.2",
        "10.0.0.1 ",
        "",
        "*",
    ] {
        assert_eq!(unreadable(&set(element)), 7, "{element}");
    }
}

#[test]
fn other_tables_and_other_objects_are_refused() {
    for line in [
        "flush ruleset",
        "list ruleset",
        "add table inet FLOCK_NETPOL",
        "add table inet Flock_netpol",
        "add table ip flock_netpol",
        "add table netdev flock_netpol",
        "add table flock_netpol",
        "add table inet flock_netpol2",
        "add table inet flock_netpol { flags dormant; }",
        "add table inet flock_netpol { flags owner; }",
        "add table inet flock_netpol { flags owner, persist; }",
        "add table inet flock_netpol; flush ruleset",
        "add table inet flock_netpol # flush ruleset",
        "delete table ip filter",
        "table ip x {",
        "table inet flock_netpol {}",
        "delete chain ip filter INPUT",
        "delete element inet fw4 x { 10.0.0.1 }",
        "flush table inet flock_netpol",
        "rename chain inet flock_netpol ingress x",
        "insert rule inet flock_netpol ingress accept",
        "replace rule inet flock_netpol ingress handle 1 accept",
        "reset counters",
        "add element inet flock_netpol pods4_00000000000000000123456789abcdef { 10.0.0.1 }",
        "add set inet flock_netpol pods4_00000000000000000123456789abcdef { typeof ip saddr; }",
        "add set inet flock_netpol rev_0123456789abcdef0123456789abcdef { typeof ip saddr; timeout 1s; }",
        "add set inet flock_netpol rev_0123456789abcdef { typeof ip saddr; }",
        "add chain inet flock_netpol ingress { type nat hook prerouting priority 0; }",
        "create chain inet flock_netpol ingress",
        "add flowtable inet flock_netpol f { hook ingress priority 0; devices = { eth0 }; }",
        "add ct timeout inet flock_netpol t { protocol tcp; policy = { established: 1 }; }",
        "add ct helper inet flock_netpol h { type \"ftp\" protocol tcp; }",
        "add secmark inet flock_netpol s { \"system_u:object_r:x:s0\" }",
        "add synproxy inet flock_netpol s { mss 1460; }",
        "add quota inet flock_netpol q { 1 bytes; }",
        "include \"/etc/shadow\"",
        "define x = 1",
        "}",
        "",
        " ",
        "# a comment",
        "# step ",
        "\tadd table inet flock_netpol",
        "ADD TABLE inet flock_netpol",
        "add table inet flock_netpol\r",
        "add table inet flock_netpol\0",
        "add table inet \\\nflock_netpol",
        "add table inet $x",
        "add table inet fl\u{f6}ck_netpol",
    ] {
        assert_eq!(unreadable(&format!("{line}\n")), 1, "{line:?}");
    }
    for object in [
        "\tflags dormant\n",
        "\tcomment \"x\"\n",
        "\tset x {\n\t\ttypeof ip saddr\n\t}\n",
        "\tset pods4_0123456789ABCDEF {\n",
        "\tmap pods4_00000000000000000123456789abcdef {\n",
        "\tset ingress4 {\n",
        "\tct timeout t {\n",
        "\ttunnel t {\n",
        "\tcounter c {\n",
        "\tset hairpin4 { typeof ip saddr; }\n",
    ] {
        assert!(unreadable(&full(object)) >= 4, "{object}");
    }
    // What a set or map is of is said by its name.
    for lines in [
        "set hairpin4 {\n\t\ttypeof ip saddr\n",
        "set hairpin4 {\n\t\ttype ipv4_addr . ipv4_addr\n",
        "set hairpin4 {\n\t\ttypeof ip saddr . ip daddr\n\t\tflags interval\n",
        "set hairpin4 {\n\t\ttypeof ip saddr . ip daddr\n\t\tflags timeout\n",
        "set hairpin4 {\n\t\ttypeof ip saddr . ip daddr\n\t\tsize 1\n",
        "set hairpin4 {\n\t\ttypeof ip saddr . ip daddr\n\t\tauto-merge\n",
        "map ingress4 {\n\t\ttypeof ip saddr : ip daddr\n",
        "map ingress4 {\n\t\ttypeof ip saddr : verdict\n\t\ttimeout 1s\n",
    ] {
        assert!(unreadable(&full(&format!("\t{lines}\t}}\n"))) >= 5, "{lines}");
    }
}
