use super::*;

fn refused(script: &str) -> Why {
    match check(script.as_bytes()) {
        Err(Refused { why, .. }) => why,
        Ok(()) => panic!("passes:\n{script}"),
    }
}

fn in_chain(rule: &str) -> String {
    format!("table inet flock_netpol {{\n\tchain ingress_x {{\n\t\t{rule}\n\t}}\n}}\n")
}

#[test]
fn every_golden_script_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../compiler/tests/golden");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "nft") {
            let script = std::fs::read(&path).unwrap();
            assert_eq!(check(&script), Ok(()), "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 29, "{count} goldens");
}

#[test]
fn statements_of_deltas_pass() {
    let delta = "table inet flock_netpol {\n\tset pods4_1 {\n\t\ttypeof ip saddr\n\t\telements = {\n\t\t\t10.0.0.1\n\t\t}\n\
                 \t}\n}\n\
                 delete element inet flock_netpol pods4_2 { 10.0.0.2, 10.0.0.3 }\n\
                 flush chain inet flock_netpol ingress_1\n\
                 add rule inet flock_netpol ingress_1 ip saddr @pods4_1 accept\n\
                 delete chain inet flock_netpol ingress_2\n\
                 delete map inet flock_netpol ingress_ports_2\n\
                 delete set inet flock_netpol rev_0123456789abcdef0123456789abcdef\n\
                 add set inet flock_netpol rev_fedcba9876543210fedcba9876543210 { typeof ip saddr; }\n";
    assert_eq!(check(delta.as_bytes()), Ok(()));
}

#[test]
fn what_only_adds_may_create_the_chain_of_its_base_and_nothing_else() {
    let base = "0123456789abcdef0123456789abcdef";
    let line = format!("create chain inet flock_netpol past_{base}\n");
    let end = format!("{line}add rule inet flock_netpol past_{base} ip saddr @rev_{base}\n");
    assert_eq!(check(end.as_bytes()), Ok(()));
    for refused_line in [
        line.replace("past_", "ingress_"),
        line.replace("chain", "set"),
        line.replace("chain", "table"),
        line.replace("inet flock_netpol", "ip filter"),
        line.replace("past_0", "past_x"),
        line.replace('\n', " { type filter hook forward priority 0; policy drop; }\n"),
        line.replace('\n', " { comment \"x\"; }\n"),
        line.replace('\n', "; flush ruleset\n"),
        line.replace("past_", "past_ "),
        line.replace("create ", "create  "),
        "create table inet flock_netpol\n".to_owned(),
        format!("insert rule inet flock_netpol past_{base} drop\n"),
    ] {
        assert!(matches!(refused(&refused_line), Why::Statement(_)), "{refused_line}");
    }
}

#[test]
fn files_and_variables_are_refused() {
    for script in [
        "include \"/etc/shadow\"\n".to_owned(),
        in_chain("include \"/etc/shadow\""),
        in_chain("1include \"/etc/shadow\""),
        in_chain("INCLUDE \"x\""),
        "define x = 1\n".to_owned(),
        in_chain("accept; include \"x\""),
    ] {
        assert!(matches!(refused(&script), Why::Word(_)), "{script}");
    }
    for script in
        ["# \\\nadd table ip x\n", "add \\\ntable ip x\n", "add table inet $x\n", "tab\u{e9}\n", "\0"]
    {
        assert!(matches!(refused(script), Why::Character(_)), "{script:?}");
    }
}

#[test]
fn other_tables_are_refused() {
    for script in [
        "flush ruleset\n",
        "delete table ip filter\n",
        "add table ip x\n",
        "table ip x {\n}\n",
        "table inet flock_netpol2 {\n}\n",
        "delete chain ip filter INPUT\n",
        "delete element inet fw4 x { 10.0.0.1 }\n",
        "add rule ip filter INPUT drop\n",
        "insert rule inet flock_netpol ingress accept\n",
        "add table inet flock_netpol; flush ruleset\n",
        "add set inet flock_netpol x { typeof ip saddr; } ; flush ruleset\n",
        "delete chain inet flock_netpol x; flush ruleset\n",
        "table inet flock_netpol {\n} flush ruleset\n",
        "table inet flock_netpol { } ; table ip x {\n}\n",
        "list ruleset\n",
        "add element inet flock_netpol x { 1 } ; add element ip x y { 2 }\n",
        "add\ttable ip x\n",
        " add table ip x\n",
    ] {
        assert!(matches!(refused(script), Why::Statement(_)), "{script}");
    }
}

#[test]
fn what_does_more_than_judge_is_refused() {
    for rule in [
        "meta mark set 1",
        "log prefix \"x\" drop",
        "queue num 0",
        "ip daddr 10.0.0.1 dnat to 10.0.0.2",
        "tproxy to :1",
        "notrack",
        "ct helper set \"ftp\"",
        "ip saddr 10.0.0.1 dup to 10.0.0.2",
    ] {
        assert!(matches!(refused(&in_chain(rule)), Why::Word(_)), "{rule}");
    }
    assert!(matches!(refused("add rule inet flock_netpol x meta mark set 1\n"), Why::Word(_)));
    for chain in ["meta mark set 1", "log", "ip daddr 10.0.0.1 dup to 10.0.0.2"] {
        let within = format!("table inet flock_netpol {{\n\tchain x {{ {chain} }}\n}}\n");
        assert!(matches!(refused(&within), Why::Word(_)), "{within}");
        let at_the_top = format!("add chain inet flock_netpol x {{ {chain} }}\n");
        assert!(matches!(refused(&at_the_top), Why::Word(_)), "{at_the_top}");
    }
    let base = |words: &str| in_chain(words);
    assert!(matches!(refused(&base("type filter hook input priority filter; policy drop;")), Why::Hook(_)));
    assert!(matches!(refused(&base("type filter hook output priority filter; policy drop;")), Why::Hook(_)));
    assert!(matches!(refused(&base("type nat hook prerouting priority filter;")), Why::ChainType(_)));
}

#[test]
fn what_is_cut_short_is_refused() {
    let whole = in_chain("accept");
    for length in 26..whole.len() - 2 {
        let cut = whole.get(..length).unwrap();
        assert!(check(cut.as_bytes()).is_err(), "{cut}");
    }
    assert_eq!(refused("}\n"), Why::Statement("}".to_owned()));
    assert!(matches!(refused(&in_chain("iifname \"x accept")), Why::Unbalanced));
}

#[test]
fn comments_count_for_nothing() {
    assert_eq!(check(b"# include \"x\nadd table inet flock_netpol # flush ruleset; {\n"), Ok(()));
    assert!(matches!(refused("# x\nflush ruleset # y\n"), Why::Statement(_)));
    assert!(matches!(refused(&in_chain("iifname \"#\" include")), Why::Word(_)));
}

#[test]
fn rules_with_sets_of_their_own_pass_and_nothing_behind_them() {
    let rule =
        "add rule inet flock_netpol anchored ip6 saddr fe80::/10 ip6 daddr { fe80::/10, ff02::/16 } accept\n";
    assert_eq!(check(rule.as_bytes()), Ok(()));
    assert!(matches!(refused(&rule.replace("accept", "accept; flush ruleset")), Why::Statement(_)));
}

#[test]
fn a_name_in_quotes_may_be_a_keyword() {
    assert_eq!(check(in_chain("iifname \"include\" accept").as_bytes()), Ok(()));
}

#[test]
fn keywords_that_nft_reads_without_a_space_before_them_are_found() {
    for rule in [
        "80log",
        "80-90log",
        "0x1notrack",
        "10.0.0.0/8log",
        "fd00::1dup to 10.0.0.1",
        "fd00::alog",
        "aa:ff/64log",
        "\"eth0\"log",
        "1set 2",
    ] {
        for text in [
            in_chain(&format!("meta mark {rule}")),
            format!("add rule inet flock_netpol c meta mark {rule}\n"),
        ] {
            assert!(matches!(refused(&text), Why::Word(_)), "{text}");
        }
    }
    let hook = "table inet flock_netpol {\n\tchain c {\n\t\ttype \"filter\"hook input priority 0;\n\t}\n}\n";
    assert!(matches!(refused(hook), Why::Hook(_) | Why::ChainType(_)));
    assert_eq!(check(in_chain("iifname \"eth0\" ip saddr 10.0.0.1 accept").as_bytes()), Ok(()));
}
