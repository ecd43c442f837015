//! What the guard accepts and nft takes changes nothing but our tables: goldens, and what stands in their neighbourhood.
//!
//! Each mutant that passes the guard is committed by the real nft in a namespace that has tables of others, and what is not
//! ours is compared before and after.

use std::fs;
use std::path::Path;
use std::process::Command;

use flock_node_agent::guard::{Costs, check};

use crate::kernel::Namespace;

/// Words that do more than judge, or name what is not ours: what a mutation puts in.
const SPITE: [&str; 30] = [
    "log",
    "notrack",
    "queue",
    "dnat to 10.0.0.9",
    "-10sdnat",
    "reset tcp option 8",
    "type nat hook prerouting priority 0;",
    "include \"/etc/hostname\"",
    "flush ruleset",
    "FLOCK_NETPOL",
    "ip",
    "bridge",
    "flags owner",
    "flags dormant",
    "attacker.invalid",
    "root",
    "accept",
    "drop",
    "{",
    "}",
    ";",
    ",",
    "\t",
    "\n",
    "\"",
    "@x",
    "0",
    "::",
    "# step",
    "add table ip evil",
];

/// A generator of numbers: the same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// One to three changes: of a byte, a word or a line.
fn mutant(script: &str, others: &[String], dice: &mut Dice) -> String {
    let mut text = script.to_owned();
    for _ in 0..=dice.roll(3) {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = dice.roll(lines.len());
        match dice.roll(6) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[dice.roll(lines.len())].clone()),
            2 => {
                let other: Vec<&str> = others[dice.roll(others.len())].lines().collect();
                lines[at] = other[dice.roll(other.len())].to_owned();
            }
            3 => {
                let mut words: Vec<&str> = lines[at].split(' ').collect();
                let place = dice.roll(words.len());
                words.insert(place, SPITE[dice.roll(SPITE.len())]);
                lines[at] = words.join(" ");
            }
            4 => {
                let mut bytes = lines[at].clone().into_bytes();
                if !bytes.is_empty() {
                    let place = dice.roll(bytes.len());
                    bytes[place] = b" \t{}@.:/-0123456789abcdefghijklmnopqrstuvwxyz"[dice.roll(45)];
                }
                lines[at] = String::from_utf8(bytes).unwrap();
            }
            _ => {
                let to = dice.roll(lines.len());
                lines.swap(at, to);
            }
        }
        if lines.is_empty() {
            break;
        }
        text = lines.join("\n") + "\n";
    }
    text
}

/// Whatever there is beside our tables: other tables, a few sysctls, the files of a folder.
fn others(namespace: &Namespace, folder: &Path) -> String {
    let tables = namespace.list("list tables");
    let foreign = tables.lines().filter(|table| !table.ends_with(" flock_netpol"));
    let mut found: String = foreign.map(|table| namespace.list(&format!("list {table}"))).collect();
    for sysctl in [
        "net/ipv4/ip_forward",
        "net/ipv4/conf/all/rp_filter",
        "net/netfilter/nf_conntrack_max",
        "net/netfilter/nf_log/2",
    ] {
        let output = Command::new("ip")
            .args(["netns", "exec", namespace.name(), "cat"])
            .arg(format!("/proc/sys/{sysctl}"))
            .output();
        found.push_str(&String::from_utf8_lossy(&output.unwrap().stdout));
    }
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.push_str(&format!("{} {}\n", path.display(), fs::read_to_string(&path).unwrap()));
    }
    found
}

#[test]
fn what_passes_changes_nothing_but_our_tables() {
    let Some(namespace) = Namespace::new("mutants") else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("kept"), "as it was").unwrap();
    namespace.apply(
        "table ip filter {\n chain input { type filter hook input priority 0; policy accept; counter; }\n}\n\
         table inet flock_netpol2 {\n set x { type ipv4_addr; elements = { 10.0.0.1 } }\n}\n",
    );
    let before = others(&namespace, folder.path());
    let goldens = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../compiler/tests/golden"));
    let mut scripts: Vec<String> = fs::read_dir(goldens)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "nft"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    scripts.sort();
    scripts.extend(crate::kernel_deltas::scripts());
    let mut dice = Dice(12);
    let (mut passed, mut taken, mut tried) = (0, 0, 0);
    while tried < 20_000 && taken < 100 {
        let script = &scripts[dice.roll(scripts.len())];
        let mutant = mutant(script, &scripts, &mut dice);
        tried += 1;
        if mutant == *script || check(&Costs::default(), mutant.as_bytes()).is_err() {
            continue;
        }
        passed += 1;
        if namespace.takes(&mutant) {
            taken += 1;
        }
        // Once for many, since nothing that was changed comes back by itself.
        if taken % 20 == 0 {
            assert_eq!(others(&namespace, folder.path()), before, "{mutant}");
        }
    }
    assert_eq!(others(&namespace, folder.path()), before);
    println!("of {tried} mutants {passed} pass the guard, and nft takes {taken}");
    assert!(taken >= 20, "of {tried} mutants {passed} pass the guard, and nft takes {taken}");
}
