//! Addresses and blocks as Kubernetes reads them, which is more than one way to write each.
//!
//! Fields of the API from before there was one notation are read by `ParseIPSloppy` and `ParseCIDRSloppy` (of
//! `k8s.io/utils/net`, the parsers of Go before 1.17): leading zeros are decimal, and IPv4 that is mapped into IPv6 is
//! IPv4. What those accept means the same here; a pod or a block that is known to everybody but us would be a hole.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flock_compiler_core::object::PodCidr;
use ipnet::IpNet;

use super::field::quoted;

/// Where the IPv4 addresses lie among those of IPv6, in bits.
const MAPPED: u8 = 96;

/// An address.
pub(super) fn ip(text: &str) -> Result<IpAddr, String> {
    let address = read(text).ok_or_else(|| format!("{} is not an IP address", quoted(text)))?;
    // Kept as IPv6, `::ffff:10.0.0.1` would be another address than the 10.0.0.1 of other objects and of packets.
    Ok(address.to_canonical())
}

/// A CIDR block. Host bits are tolerated, as by the API server.
pub(super) fn cidr(text: &str) -> Result<IpNet, String> {
    block(text).ok_or_else(|| format!("{} is not a CIDR block such as 10.0.0.0/8 or fd00::/64", quoted(text)))
}

/// A block of addresses for pods.
pub(super) fn pod_cidr(text: &str) -> Result<PodCidr, String> {
    PodCidr::new(cidr(text)?).map_err(|error| error.to_string())
}

fn block(text: &str) -> Option<IpNet> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix) = (read(address)?, u8::try_from(number(prefix, 10)?).ok()?);
    // A shorter prefix reaches beyond the mapped addresses, and is one of IPv6 to everybody.
    match (address.to_canonical(), prefix.checked_sub(MAPPED)) {
        (canonical @ IpAddr::V4(_), Some(rest)) if address.is_ipv6() => IpNet::new(canonical, rest).ok(),
        _ => IpNet::new(address, prefix).ok(),
    }
}

/// An address as it is written; a mapped one is of IPv6.
fn read(text: &str) -> Option<IpAddr> {
    match ipv4(text) {
        Some(address) => Some(address.into()),
        None => ipv6(text).map(IpAddr::V6),
    }
}

/// Digits of a base, and at least one; their value may not exceed what a group of addresses has.
fn number(digits: &str, base: u32) -> Option<u16> {
    let mut value = 0_u32;
    for digit in digits.chars() {
        value = value * base + digit.to_digit(base)?;
        // At every digit: leading zeros may be any number, so the length bounds nothing, and the product must not
        // overflow.
        if value > u32::from(u16::MAX) {
            return None;
        }
    }
    u16::try_from(value).ok().filter(|_| !digits.is_empty())
}

fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        *octet = u8::try_from(number(parts.next()?, 10)?).ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}

/// Up to eight groups of hexadecimal digits with colons between them, of which `::` stands for at least one that is
/// zero; the last two may be written as IPv4.
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    let Some((before, after)) = text.split_once("::") else {
        return groups(text, true)?.try_into().ok().map(|groups: [u16; 8]| groups.into());
    };
    // IPv4 stands at the end only. A second `::` leaves an empty group, which is none.
    let (before, after) = (groups(before, false)?, groups(after, true)?);
    let zeros = 8_usize.checked_sub(before.len() + after.len()).filter(|zeros| *zeros > 0)?;
    let all = [before, vec![0; zeros], after].concat();
    all.try_into().ok().map(|groups: [u16; 8]| groups.into())
}

/// The groups on one side of `::`; there may be none.
fn groups(text: &str, is_end: bool) -> Option<Vec<u16>> {
    let mut found = Vec::new();
    let mut parts = text.split(':').peekable();
    // `split` makes one empty part of nothing, and beside `::` there may be nothing.
    while let Some(part) = parts.next().filter(|_| !text.is_empty()) {
        // A text may be as long as its manifest: what has too many groups is not read to its end.
        if found.len() >= 8 {
            return None;
        }
        if is_end && parts.peek().is_none() && part.contains('.') {
            let [a, b, c, d] = ipv4(part)?.octets();
            found.extend([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]);
        } else {
            found.push(number(part, 16)?);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the standard library reads, which has one notation, is read alike.
    #[test]
    fn the_usual_notation_is_the_usual_address() {
        for text in [
            "10.244.1.10",
            "0.0.0.0",
            "255.255.255.255",
            "::",
            "::1",
            "fd00::",
            "fd00:10:244:1::7",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "64:ff9b::192.0.2.1",
            "1:2:3:4:5:6:192.0.2.1",
            "FE80::ABCD",
        ] {
            assert_eq!(ip(text), Ok(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn leading_zeros_are_decimal_and_mapped_addresses_are_ipv4() {
        for (text, address) in [
            ("10.244.001.010", "10.244.1.10"),
            ("0000000010.1.1.08", "10.1.1.8"),
            ("::ffff:10.244.1.10", "10.244.1.10"),
            ("::FFFF:10.244.001.010", "10.244.1.10"),
            ("::ffff:af4:10a", "10.244.1.10"),
            ("0:0:0:0:0:ffff:0af4:010a", "10.244.1.10"),
            ("fd00::00007", "fd00::7"),
            ("::10.0.0.01", "::10.0.0.1"),
        ] {
            assert_eq!(ip(text), Ok(address.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_kubernetes_does_not_read_is_none() {
        let long = format!("{}1.2.3.4", "0:".repeat(100_000));
        for text in [
            "",
            " 10.0.0.1",
            "10.0.0.1 ",
            "10.0.0",
            "10.0.0.0.1",
            "10.0.0.256",
            "10.0.0.",
            ".0.0.1",
            "0x0a.0.0.1",
            "167772161",
            "+1.0.0.1",
            "10.0.0.-1",
            "10.0.0.1/32",
            "٣.0.0.1",
            "fe80::1%eth0",
            ":",
            ":::",
            "1::2::3",
            "1:",
            ":1",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4::5:6:7:8",
            "12345::",
            "g::",
            "::1.2.3",
            "1.2.3.4::",
            "1.2.3.4:5::",
            "1:2:3:4:5:6:7:1.2.3.4",
            "99999999999999999999.0.0.1",
            &long,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn blocks_are_read_alike() {
        for (text, block) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.0/08", "10.0.0.0/8"),
            ("010.000.0.0/8", "10.0.0.0/8"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0a00:0/0104", "10.0.0.0/8"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            ("::ffff:10.0.0.1/128", "10.0.0.1/32"),
            ("fd00::/064", "fd00::/64"),
            ("::/0", "::/0"),
            // Everything that is mapped, and more: of no use to anybody, and no block of IPv4.
            ("::ffff:0:0/90", "::ffff:0:0/90"),
        ] {
            assert_eq!(cidr(text), Ok(block.parse().unwrap()), "{text}");
        }
        for text in [
            "10.0.0.0",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.0/8/8",
            "10.0.0.0/+8",
            "10.0.0.0/-0",
        ] {
            assert!(cidr(text).is_err(), "{text}");
        }
        let refused = cidr("10.0.0.0/33").unwrap_err();
        assert_eq!(refused, "\"10.0.0.0/33\" is not a CIDR block such as 10.0.0.0/8 or fd00::/64");
    }

    #[test]
    fn it_reads_all_that_the_standard_library_writes() {
        let mut bits = 1_u128;
        for _ in 0..1_000 {
            // A linear congruence (Knuth's), with groups of zeros in all places.
            bits = bits
                .wrapping_mul(6_364_136_223_846_793_005 << 64 | 1_442_695_040_888_963_407)
                .wrapping_add(1);
            let mask = (0..8)
                .filter(|group| bits >> group & 1 == 1)
                .fold(0, |all, group| all | 0xffff << (group * 16));
            let (v4, v6) = (Ipv4Addr::from((bits >> 96) as u32), Ipv6Addr::from(bits & mask));
            for text in [v4.to_string(), v6.to_string()] {
                assert_eq!(read(&text), text.parse().ok(), "{text}");
            }
            for text in [format!("{v4}/{}", bits >> 64 & 31), format!("{v4}/32")] {
                assert_eq!(block(&text), text.parse().ok(), "{text}");
            }
        }
    }
}
