//! What came out of the hands of an attacker who had the compiler, each of which nft and the kernel would have taken; and
//! what costs too much.

mod bounds;
mod deltas;
mod drops;
mod statements;
mod verdicts;

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
const RULES: &str = "ingress_00000000000000000123456789abcdef";

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
        "refused before nft saw it: line 5: expected a rule or the end of ingress_00000000000000000123456789abcdef, found \
         \"\\t\\tmeta nfproto ipv4 log\""
    );
    let hook = full(&chain("ingress", "type filter hook input priority filter; policy drop;"));
    assert_eq!(
        refused(&hook).to_string(),
        "refused before nft saw it: line 5: expected \"type filter hook forward priority filter - 9; policy \
         drop;\", found \"\\t\\ttype filter hook input priority filter; policy drop;\""
    );
}
