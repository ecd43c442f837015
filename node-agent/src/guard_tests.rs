//! What came out of the hands of an attacker who had the compiler, each of which nft and the kernel would have taken; and
//! what costs too much.

use super::*;

fn full(objects: &str) -> String {
    let table = "table inet flock_netpol";
    format!("add {table}\ndelete {table}\n{table} {{\n{objects}}}\n")
}

fn chain(name: &str, rules: &str) -> String {
    let rules: String = rules.lines().map(|rule| format!("\t\t{rule}\n")).collect();
    format!("\tchain {name} {{\n{rules}\t}}\n")
}

/// A chain of a rule set.
const RULES: &str = "ingress_0123456789abcdef";

fn with_rule(rule: &str) -> String {
    full(&chain(RULES, rule))
}

fn refused(script: &str) -> Refused {
    match check(&Costs::default(), script.as_bytes()) {
        Err(refused) => refused,
        Ok(_) => panic!("passes:\n{script}"),
    }
}

/// Where a line is none of ours.
fn unreadable(script: &str) -> usize {
    match refused(script) {
        Refused { line, why: Why::Unreadable(_) } => line,
        Refused { why, .. } => panic!("{why}:\n{script}"),
    }
}

fn passes(script: &str) -> Costs {
    check(&Costs::default(), script.as_bytes()).unwrap_or_else(|error| panic!("{error}:\n{script}"))
}

#[test]
fn a_refusal_names_the_line_and_what_was_expected() {
    passes(&with_rule("meta nfproto ipv4 accept"));
    assert_eq!(
        refused(&with_rule("meta nfproto ipv4 log")).to_string(),
        "refused before nft saw it: line 5: expected a rule or the end of ingress_0123456789abcdef, found \
         \"\\t\\tmeta nfproto ipv4 log\""
    );
    let hook = full(&chain("ingress", "type filter hook input priority filter; policy drop;"));
    assert_eq!(
        refused(&hook).to_string(),
        "refused before nft saw it: line 5: expected \"type filter hook forward priority filter - 9; policy \
         drop;\", found \"\\t\\ttype filter hook input priority filter; policy drop;\""
    );
}

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
        "add @pods4_0123456789abcdef { ip saddr }",
        "update @pods4_0123456789abcdef { ip saddr timeout 1h }",
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
            format!("ip saddr @pods4_0123456789abcdef {statement}"),
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
        let set = "set pods4_0123456789abcdef";
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
        "add element inet flock_netpol pods4_0123456789abcdef { 10.0.0.1 }",
        "add set inet flock_netpol pods4_0123456789abcdef { typeof ip saddr; }",
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
        "\tmap pods4_0123456789abcdef {\n",
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
    let deep: String = (0..6)
        .map(|level| jumps(&format!("ingress_{level:016x}"), &format!("ingress_{:016x}", level + 1), 16))
        .collect();
    assert!(matches!(refused(&full(&deep)), Refused { line: 5, why: Why::Way { .. } }));
    for (from, rule) in [
        (RULES, "goto ingress_0123456789abcdef"),
        (RULES, "goto ingress_aaaaaaaaaaaaaaaa"),
        (RULES, "goto ingress"),
        (RULES, "counter jump ingress_denied"),
        (RULES, "ip saddr vmap @ingress4"),
        ("ingress_denied", "goto ingress_denied"),
        ("ingress_denied", "meta nfproto vmap @open"),
        ("ingress_peers_0123456789abcdef", "goto ingress_0123456789abcdef"),
        ("ingress_peers_0123456789abcdef", "goto ingress_peers_0123456789abcdee"),
        ("ingress_all_0a000001", "jump ingress_0123456789abcdef"),
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
    let gates = |count| full(&jumps("ingress_all_0a000001", "ingress_0123456789abcdef_gate", count));
    passes(&gates(8));
    assert!(matches!(refused(&gates(100)).why, Why::TooMany { .. }));
    assert!(matches!(refused(&with_rule(&"accept\n".repeat(100))).why, Why::TooMany { .. }));
}

#[test]
fn deltas_do_not_add_up() {
    // A block adds rules to a chain that stands.
    let more = format!("table inet flock_netpol {{\n{}}}\n", chain(RULES, "meta nfproto ipv4 accept"));
    let mut costs = passes(&with_rule("accept"));
    let mut added = 0;
    let refused = loop {
        match check(&costs, more.as_bytes()) {
            Ok(after) => costs = after,
            Err(refused) => break refused,
        }
        added += 1;
        assert!(added < 100);
    };
    assert!(matches!(refused.why, Why::TooMany { .. }));
    // A rule of its own only behind a flush, which is the end of those before.
    let rule = format!("add rule inet flock_netpol {RULES} accept\n");
    let flush = format!("flush chain inet flock_netpol {RULES}\n");
    assert!(matches!(check(&costs, rule.as_bytes()).unwrap_err().why, Why::NotFlushed(_)));
    let other = format!("{flush}flush chain inet flock_netpol ingress_denied\n{rule}");
    assert!(matches!(
        check(&costs, other.as_bytes()).unwrap_err(),
        Refused { line: 3, why: Why::NotFlushed(_) }
    ));
    let costs = check(&costs, format!("{flush}{rule}{rule}").as_bytes()).unwrap();
    assert_eq!(costs.totals().rules, 2);
    check(&costs, more.as_bytes()).unwrap();
    // A table that is made anew costs nothing of what was there.
    assert_eq!(check(&costs, with_rule("accept").as_bytes()), Ok(passes(&with_rule("accept"))));
}

#[test]
fn markers_are_few_and_their_chains_have_one_rule() {
    let revision = "0123456789abcdef0123456789abcdef";
    let mark = format!("add set inet flock_netpol rev_{revision} {{ typeof ip saddr; }}\n");
    let create = format!("create chain inet flock_netpol past_{revision}\n");
    let rule = format!("add rule inet flock_netpol past_{revision} ip saddr @rev_{revision}\n");
    passes(&format!("{mark}{create}{rule}"));
    for script in [rule.clone(), format!("{create}{mark}{rule}"), format!("{create}{rule}{rule}")] {
        assert!(matches!(refused(&script).why, Why::NotFlushed(_)), "{script}");
    }
    for (from, to) in [
        ("past_", "ingress_"),
        ("past_0", "past_x"),
        ("past_", "past_ "),
        ("create ", "create  "),
        ("@rev_0", "@rev_1"),
        ("ip saddr", "ip daddr"),
    ] {
        let script = format!("{mark}{create}{rule}").replace(from, to);
        assert!(check(&Costs::default(), script.as_bytes()).is_err(), "{script}");
    }
    let many: String = (0..100).map(|number| mark.replace("rev_0123", &format!("rev_{number:04}"))).collect();
    assert!(matches!(refused(&many), Refused { line: 17, why: Why::TooMany { .. } }));
}

/// A later step of a delta says again that the table has left its base: that rule fails where an earlier one was not
/// committed. It adds nothing else, and there is one for each script.
#[test]
fn a_later_step_may_repeat_the_rule_of_the_base_once() {
    let base = "0123456789abcdef0123456789abcdef";
    let other = "fedcba9876543210fedcba9876543210";
    let create = |revision: &str| format!("create chain inet flock_netpol past_{revision}\n");
    let rule =
        |revision: &str| format!("add rule inet flock_netpol past_{revision} ip saddr @rev_{revision}\n");
    let mark = format!("add set inet flock_netpol rev_{other} {{ typeof ip saddr; }}\n");
    let begin = format!("{mark}{}{}", create(base), rule(base));
    let step = "# step\n";
    for script in [
        format!("{begin}{step}{}", rule(base)),
        format!("{begin}{step}{step}{}", rule(base)),
        format!("{}{step}{}", create(base), rule(base)),
    ] {
        passes(&script);
    }
    for script in [
        // In the same step, of another revision, of none, a third time, after another one was left.
        format!("{begin}{}", rule(base)),
        format!("{begin}{step}{}", rule(other)),
        format!("{step}{}", rule(base)),
        format!("{begin}{step}{}{}", rule(base), rule(base)),
        format!("{begin}{step}{}{step}{}", rule(base), rule(base)),
        format!("{begin}{}{step}{}", create(other), rule(base)),
        // With more than that rule says.
        format!("{begin}{step}{}", rule(base).replace('\n', " accept\n")),
        format!("{begin}{step}{}", rule(base).replace("ip saddr", "ip saddr !=")),
    ] {
        assert!(check(&Costs::default(), script.as_bytes()).is_err(), "{script}");
    }
}

/// The table of family bridge is written like the other one, with objects of its own.
#[test]
fn each_table_has_its_own_objects_in_every_step() {
    let bridge = |objects: &str| {
        let tables = ["inet", "bridge"]
            .map(|family| format!("add table {family} flock_netpol\ndelete table {family} flock_netpol\n"));
        format!("{}# step\ntable bridge flock_netpol {{\n{objects}}}\n", tables.concat())
    };
    let hook = "type filter hook forward priority filter; policy drop;";
    let set = |name: &str| format!("\tset {name} {{\n\t\ttypeof iifname\n\t}}\n");
    let forward = chain("forward", &format!("{hook}\niifname @other_ports accept\ngoto frames"));
    passes(&bridge(&format!("{}{}{forward}", set("other_ports"), chain("frames", "counter drop"))));
    let table = "table bridge flock_netpol";
    for delta in [
        "flush chain bridge flock_netpol frames\nadd rule bridge flock_netpol frames counter drop\n"
            .to_owned(),
        format!("# step\n{table} {{\n{}}}\n", set("open_ports")),
        "delete set bridge flock_netpol uplinks\n# step\ndelete chain bridge flock_netpol frames\n"
            .to_owned(),
    ] {
        passes(&delta);
    }
    for objects in [
        // Objects of the other table, its hooks, and ways into it.
        chain("ingress", "type filter hook forward priority filter - 9; policy drop;"),
        chain("translated", "type filter hook prerouting priority dstnat + 10; policy accept;"),
        chain("forward", "type filter hook forward priority filter - 9; policy drop;"),
        chain("forward", &format!("{hook}\ngoto ingress_denied")),
        chain("forward", "type filter hook prerouting priority filter; policy drop;"),
        chain("forward", "type filter hook input priority filter; policy drop;"),
        set("interfaces"),
        set("pod_links"),
        "\tset pods4_0123456789abcdef {\n\t\ttypeof ip saddr\n\t}\n".to_owned(),
    ] {
        assert!(check(&Costs::default(), bridge(&objects).as_bytes()).is_err(), "{objects}");
    }
    for statement in [
        "delete set bridge flock_netpol isolated4\n",
        "delete set inet flock_netpol uplinks\n",
        "delete map bridge flock_netpol open\n",
        "flush chain bridge flock_netpol egress\n",
        "add set bridge flock_netpol rev_0123456789abcdef0123456789abcdef { typeof ip saddr; }\n",
        "create chain bridge flock_netpol past_0123456789abcdef0123456789abcdef\n",
        "delete element bridge flock_netpol anchors4 { \"eth0\" . 10.0.0.1 }\n",
    ] {
        assert!(check(&Costs::default(), statement.as_bytes()).is_err(), "{statement}");
    }
}

/// Ports in a rule are elements like others: 2.8 million of them fit into the bytes of a step.
#[test]
fn ports_of_tunnels_are_elements() {
    let rule = |ports: usize| {
        let ports: Vec<String> = (1..=ports).map(|port| port.to_string()).collect();
        format!("udp dport {{ {} }} iifname @pod_links goto tunnel_ends", ports.join(", "))
    };
    let accepting = |ports: usize| with_rule(&rule(ports).replace("goto tunnel_ends", "accept"));
    passes(&accepting(72));
    assert!(matches!(refused(&accepting(73)).why, Why::TooMany { .. }));
    let again = "flush chain inet flock_netpol translated\n";
    let add = format!("add rule inet flock_netpol translated {}\n", rule(72));
    let many = format!("{again}{add}").repeat(1_000);
    let Refused { line, why } = refused(&many);
    assert!(matches!(why, Why::TooMany { limit: 65_536, .. }), "{why}");
    assert_eq!(line, 2 * (65_536 / 72 + 1));
    passes(&format!("{}# step\n", format!("{again}{add}").repeat(900)).repeat(2));
}

#[test]
fn elements_sets_and_chains_are_bounded() {
    let set = |number: usize, elements: &str| {
        let elements = if elements.is_empty() {
            String::new()
        } else {
            format!("\t\telements = {{\n{elements}\t\t}}\n")
        };
        format!("\tset pods4_{number:016x} {{\n\t\ttypeof ip saddr\n{elements}\t}}\n")
    };
    let elements = |count: usize| {
        let lines = (0..count / 8).map(|line| {
            let addresses =
                (0..8).map(|at| std::net::Ipv4Addr::from(0x0a00_0000 + (line * 8 + at) as u32).to_string());
            format!("\t\t\t{}", addresses.collect::<Vec<_>>().join(", "))
        });
        lines.collect::<Vec<_>>().join(",\n") + "\n"
    };
    let costs = passes(&full(&set(1, &elements(50_000))));
    assert_eq!(costs.totals().elements, 50_000);
    assert!(matches!(refused(&full(&set(1, &elements(100_000)))).why, Why::TooMany { .. }));
    // In steps, as much as a table may have.
    let mut costs = costs;
    for number in 2.. {
        let step = format!("table inet flock_netpol {{\n{}}}\n# step\n", set(number, &elements(50_000)));
        match check(&costs, step.as_bytes()) {
            Ok(after) => costs = after,
            Err(refused) => {
                assert!(matches!(refused.why, Why::TooMany { .. }));
                assert_eq!(number, 21);
                break;
            }
        }
    }
    let sets: String = (0..16_000).map(|number| set(number, "")).collect();
    assert!(matches!(refused(&full(&sets)).why, Why::TooMany { .. }));
    // Sets that rules hold count like others.
    let rule = "ip6 saddr fe80::/10 ip6 daddr { fe80::/10, ff02::/16 } accept\n".repeat(20);
    let unnamed: String = (0..1_000).map(|number| chain(&format!("ingress_{number:016x}"), &rule)).collect();
    assert!(matches!(refused(&full(&unnamed)).why, Why::TooMany { .. }));
    let chains: String = (0..20_000).map(|number| chain(&format!("ingress_{number:016x}"), "")).collect();
    assert!(matches!(refused(&full(&chains)).why, Why::TooMany { .. }));
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
