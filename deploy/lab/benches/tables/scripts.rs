//! The tables that are put in place. None has 100,000 elements: an element in a transaction takes up to 8 kB.

use std::fmt;
use std::net::Ipv4Addr;

/// The table.
pub(crate) const TABLE: &str = "inet bench";

/// What a table has many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sets of one address each, in a chain of its own each.
    Sets,
    /// Chains.
    Chains,
    /// Addresses of one hash set.
    Addresses,
    /// Addresses with protocol and port of one hash set.
    Services,
    /// Ranges of addresses of one set.
    Ranges,
}

impl Kind {
    /// Each with the counts to be measured.
    pub(crate) const ALL: [(Self, [usize; 3]); 5] = [
        (Self::Sets, [1_000, 2_000, 4_000]),
        (Self::Chains, [2_000, 4_000, 8_000]),
        (Self::Addresses, [10_000, 20_000, 40_000]),
        (Self::Services, [10_000, 20_000, 40_000]),
        (Self::Ranges, [4_000, 8_000, 16_000]),
    ];

    /// How much a step has where one of so many elements is small.
    pub(crate) const fn step(self, elements: usize) -> usize {
        match self {
            Self::Sets | Self::Chains => elements / 10,
            Self::Addresses | Self::Services | Self::Ranges => elements,
        }
    }

    /// The steps that lead to a table with so many, each with no more than `step`; without it one.
    pub(crate) fn script(self, count: usize, step: Option<usize>) -> Vec<String> {
        let parts = |write: &dyn Fn(usize) -> String, around: [&str; 2]| -> Vec<String> {
            let all: Vec<usize> = (0..count).collect();
            let part = |part: &[usize]| {
                let [before, after] = around;
                let all: Vec<String> = part.iter().map(|number| write(*number)).collect();
                format!("{before}{}{after}", all.join(if after.contains('}') { ", " } else { "" }))
            };
            all.chunks(step.unwrap_or(count).max(1)).map(part).collect()
        };
        let elements = [&*format!("add element {TABLE} many {{ "), " }\n"];
        let mut steps = vec![format!("add table {TABLE}\n")];
        let mut more = match self {
            Self::Sets => {
                let set = |n| {
                    format!(
                        "add set {TABLE} set_{n:032x} {{ typeof ip saddr; elements = {{ {} }}; }}\n",
                        address(n)
                    )
                };
                let chain = |n| {
                    format!(
                        "add chain {TABLE} peers_{n:032x}\nadd rule {TABLE} peers_{n:032x} ip saddr @set_{n:032x} accept\n"
                    )
                };
                let mut all = parts(&set, ["", ""]);
                all.extend(parts(&chain, ["", ""]));
                all
            }
            Self::Chains => parts(
                &|n| format!("add chain {TABLE} c_{n:032x}\nadd rule {TABLE} c_{n:032x} drop\n"),
                ["", ""],
            ),
            Self::Addresses => {
                steps.push(format!("add set {TABLE} many {{ typeof ip saddr; }}\n"));
                parts(&|n| address(n).to_string(), elements)
            }
            Self::Services => {
                steps
                    .push(format!("add set {TABLE} many {{ typeof ip saddr . meta l4proto . th dport; }}\n"));
                parts(&|n| format!("{} . tcp . {}", address(n), n % 60_000 + 1), elements)
            }
            Self::Ranges => {
                steps.push(format!("add set {TABLE} many {{ typeof ip saddr; flags interval; }}\n"));
                parts(&|n| format!("{}/31", address(4 * n)), elements)
            }
        };
        steps.append(&mut more);
        if step.is_none() { vec![steps.concat()] } else { steps }
    }
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + u32::try_from(number).unwrap_or_default())
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sets => "sets of one, with a chain each",
            Self::Chains => "chains",
            Self::Addresses => "addresses in one set",
            Self::Services => "addresses with ports in one set",
            Self::Ranges => "ranges of addresses in one set",
        })
    }
}
