//! Made-up names for addresses: the same name for the same address all over a bundle, by order of appearance. Hashes would
//! not do: there are so few addresses of IPv4 that each can be tried.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// The names that were given out.
#[derive(Debug, Default)]
pub(super) struct Pseudonyms(HashMap<IpAddr, usize>);

impl Pseudonyms {
    /// The text with a name in place of each address of either family, also as hosts are called by theirs (`ip-10-0-0-1`).
    pub(super) fn replace(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| is_part(c)) {
            let (before, from) = rest.split_at(start);
            out.push_str(before);
            let end = from.find(|c: char| !is_part(c)).unwrap_or(from.len());
            let (run, after) = from.split_at(end);
            self.run(run, &mut out);
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// What may hold an address: letters, digits, and what stands between them in addresses and names.
    fn run(&mut self, run: &str, out: &mut String) {
        // Colons may end an address (`fd00::/64`), or a word behind which something is said.
        let ends_in_colons = run.parse::<IpAddr>().is_ok();
        let trimmed = if ends_in_colons { run } else { run.trim_end_matches(['.', ':']) };
        // As a whole first: the last colon of an address of IPv6 begins no port.
        let (end, port) = match trimmed.parse::<IpAddr>() {
            Ok(_) => (trimmed, ""),
            Err(_) => trimmed.rfind(':').map_or((trimmed, ""), |at| trimmed.split_at(at)),
        };
        match end.parse::<IpAddr>() {
            Ok(address) => {
                out.push_str(&self.name(address));
                out.push_str(port);
                out.push_str(run.get(trimmed.len()..).unwrap_or_default());
            }
            Err(_) => self.words(run, out),
        }
    }

    /// Addresses within a name: four numbers with dashes or dots between them.
    fn words(&mut self, run: &str, out: &mut String) {
        let mut pieces: Vec<&str> = run.split_inclusive(['-', '.', ':', '_']).collect();
        while !pieces.is_empty() {
            if let Some((address, last)) = quad(&pieces) {
                out.push_str(&self.name(address.into()));
                out.extend(last);
                pieces.drain(..4);
            } else {
                // One piece only: the next number may be the first of an address.
                out.push_str(pieces.remove(0));
            }
        }
    }

    fn name(&mut self, address: IpAddr) -> String {
        let next = self.0.len() + 1;
        // IPv4 that is mapped into IPv6 is the same address.
        format!("address-{}", self.0.entry(address.to_canonical()).or_insert(next))
    }
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_')
}

/// The address that the next four pieces are, and what stands after them.
fn quad(pieces: &[&str]) -> Option<(Ipv4Addr, Option<char>)> {
    let pieces = pieces.get(..4)?;
    let mut bytes = [0u8; 4];
    let mut last = None;
    for (index, (byte, piece)) in bytes.iter_mut().zip(pieces).enumerate() {
        let digits = piece.trim_end_matches(['-', '.', ':', '_']);
        *byte = digits.parse().ok()?;
        last = piece.get(digits.len()..).and_then(|rest| rest.chars().next());
        if index < 3 && !matches!(last, Some('-' | '.')) {
            return None;
        }
    }
    Some((Ipv4Addr::from(bytes), last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_name_wherever_it_stands() {
        let mut pseudonyms = Pseudonyms::default();
        for (text, expected) in [
            ("\"10.0.0.1\"", "\"address-1\""),
            ("10.0.0.1:80, 10.0.0.2.", "address-1:80, address-2."),
            ("[fd00::1]:80 and fd00::1", "[address-3]:80 and address-3"),
            ("::ffff:10.0.0.1", "address-1"),
            ("10.0.0.0/24", "address-4/24"),
            ("fd00::/64, fd00::/48", "address-5/64, address-5/48"),
            ("ip-10-0-0-1.ec2.internal", "ip-address-1.ec2.internal"),
            ("web-10.0.0.2", "web-address-2"),
        ] {
            assert_eq!(pseudonyms.replace(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_stays() {
        for text in [
            "2026-01-02T22:35:09Z",
            "e7d49617a70a",
            "v1.33.0",
            "7d9f4c7b-1c2d-4e5f-8a9b-0c1d2e3f4a5b",
            "shop/deploy/api ingress[0].from[0]",
            "5432/TCP",
            "–, ü: ↔",
        ] {
            assert_eq!(Pseudonyms::default().replace(text), text);
        }
    }
}
