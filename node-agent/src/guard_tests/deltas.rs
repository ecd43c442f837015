//! What comes after a full script: deltas and steps, their markers, and the objects of each table.

use super::*;

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
        "\tset pods4_00000000000000000123456789abcdef {\n\t\ttypeof ip saddr\n\t}\n".to_owned(),
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
