//! What rules do with the kernel's registers, as `nft --debug=netlink` prints it.

use std::collections::BTreeSet;

/// The instructions that swap two bytes of a register that holds a protocol, which has one, each with its chain.
pub(crate) fn swapped_protocols(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut chain, mut protocols) = ("", BTreeSet::new());
    for line in code.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["[", ref instruction @ .., "]"] => {
                if let ["byteorder", "reg", register, "=", _, _, size, ..] = *instruction
                    && size == "2,"
                    && protocols.contains(&slot(register))
                {
                    found.push(format!("{chain}: {}", instruction.join(" ")));
                }
                if let Some((first, slots)) = loaded(instruction) {
                    (first..first + slots).for_each(|slot| _ = protocols.remove(&slot));
                    if instruction.starts_with(&["meta", "load", "l4proto"]) {
                        protocols.insert(first);
                    }
                }
            }
            // A rule begins with its table and chain; its registers hold nothing yet.
            [_, _, name, ..] => (chain, protocols) = (name, BTreeSet::new()),
            _ => {}
        }
    }
    found
}

/// The 4-byte slots that an instruction loads something into: the first one, and how many.
fn loaded(instruction: &[&str]) -> Option<(u32, u32)> {
    let register = match *instruction {
        [.., "=>", "reg", register] | ["immediate" | "bitwise", "reg", register, ..] => register,
        _ => return None,
    };
    let bytes = instruction.iter().find_map(|word| word.strip_suffix('b')?.parse::<u32>().ok());
    // Where no length is told it is an address at most.
    Some((slot(register), bytes.map_or(4, |bytes| bytes.div_ceil(4))))
}

/// The first 4-byte slot of a register: 1 to 4 are the ones of 16 bytes, 8 and up those of 4.
fn slot(register: &str) -> u32 {
    match register.parse().unwrap() {
        whole @ 1..=4 => 8 + (whole - 1) * 4,
        part => part,
    }
}

#[test]
fn a_swap_is_told_by_what_the_register_holds() {
    let rule = |port: &str, protocol: &str, swap: &str| {
        format!(
            "inet t c \n  [ payload load 2b @ transport header + 2 => reg {port} ]\n  \
             [ meta load l4proto => reg {protocol} ]\n  \
             [ byteorder reg {swap} = hton(reg {swap}, 2, 1) ]\n  [ lookup reg 1 set s dreg 0 ]\n\n"
        )
    };
    let found = |code: &str| swapped_protocols(code).len();
    assert_eq!(swapped_protocols(&rule("1", "9", "9")), ["c: byteorder reg 9 = hton(reg 9, 2, 1)"]);
    assert_eq!(found(&rule("9", "1", "8")), 1, "one register by two numbers");
    assert_eq!(found(&rule("1", "9", "1")), 0, "a port");
    assert_eq!(found(&rule("1", "9", "10")), 0, "nothing");
    assert_eq!(found(&rule("1", "9", "9").replace(", 2, 1", ", 4, 4")), 0, "another size");
    let code = "inet t c\n  [ meta load l4proto => reg 1 ]\n";
    let swap = "  [ byteorder reg 1 = hton(reg 1, 2, 1) ]\n";
    assert_eq!(found(&format!("{code}{swap}")), 1);
    assert_eq!(found(&format!("{code}  [ payload load 2b @ transport header + 2 => reg 1 ]\n{swap}")), 0);
    assert_eq!(found(&format!("{code}\ninet t d\n{swap}")), 0, "another rule");
}
