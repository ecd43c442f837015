//! Names are read: the same words that they are written with, and validated variable parts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flock_shared::Revision;

use crate::direction::Direction;
use crate::identity::Name;
use crate::name::{Allow, ChainName, Family, MapName, SetName};
use crate::phrases::Phrases;
use crate::port::Protocol;

/// The value that a whole text is the phrase of.
pub(super) fn whole<T: Phrases>(text: &str) -> Option<T> {
    T::read_phrase(text).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}

/// What follows these words.
fn after<'t>(text: &'t str, words: &[&str]) -> Option<&'t str> {
    words.iter().try_fold(text, |text, word| text.strip_prefix(word))
}

/// The variable part of a name and what a chain does with what it allows.
fn allowing(text: &str) -> Option<(Name, Allow)> {
    let (name, allow) = match text.strip_suffix("_gate") {
        Some(name) => (name, Allow::Return),
        None => (text, Allow::Accept),
    };
    Some((name.parse().ok()?, allow))
}

pub(super) fn set(text: &str) -> Option<SetName> {
    let fixed = whole(text);
    fixed.or_else(|| Family::ALL.into_iter().find_map(|family| set_of(text, family)))
}

fn set_of(text: &str, family: Family) -> Option<SetName> {
    let name = |words: &[&str]| after(text, words).and_then(|name| name.parse().ok());
    let digit = family.digit();
    let shared = name(&["pods", digit, "_"])
        .map(|name| SetName::Pods(family, name))
        .or_else(|| Some(SetName::Blocks(family, name(&["blocks", digit, "_"])?)))
        .or_else(|| Some(SetName::Named(family, name(&["named", digit, "_"])?)));
    shared.or_else(|| {
        Direction::ALL.into_iter().find_map(|direction| {
            let word = direction.as_str();
            let any = name(&[word, "_contested_any", digit, "_"]);
            any.map(|name| SetName::ContestedAny(direction, family, name)).or_else(|| {
                Protocol::ALL.into_iter().find_map(|protocol| {
                    let name = name(&[word, "_contested", digit, "_", protocol.word(), "_"])?;
                    Some(SetName::Contested(direction, family, name, protocol))
                })
            })
        })
    })
}

pub(super) fn map(text: &str) -> Option<MapName> {
    let of = |direction: Direction| {
        let word = direction.as_str();
        let ports = after(text, &[word, "_ports_"]).and_then(allowing);
        ports.map(|(name, allow)| MapName::Ports(direction, name, allow)).or_else(|| {
            Protocol::ALL.into_iter().find_map(|protocol| {
                let (name, allow) =
                    after(text, &[word, "_ranges_", protocol.word(), "_"]).and_then(allowing)?;
                Some(MapName::PortRanges(direction, name, allow, protocol))
            })
        })
    };
    whole(text).or_else(|| Direction::ALL.into_iter().find_map(of))
}

pub(super) fn chain(text: &str) -> Option<ChainName> {
    let of = |direction: Direction| {
        let rest = after(text, &[direction.as_str(), "_"])?;
        if let Some(digits) = rest.strip_prefix("all_") {
            return address(digits).map(|address| ChainName::All(direction, address));
        }
        let peers = rest.strip_prefix("peers_").and_then(allowing);
        peers
            .map(|(name, allow)| ChainName::Peers(direction, name, allow))
            .or_else(|| allowing(rest).map(|(name, allow)| ChainName::RuleSet(direction, name, allow)))
    };
    let source_checks = || after(text, &["anchor_"]).and_then(whole).map(ChainName::SourceChecks);
    whole(text).or_else(source_checks).or_else(|| Direction::ALL.into_iter().find_map(of))
}

/// An address in hexadecimal digits.
fn address(digits: &str) -> Option<IpAddr> {
    // All digits are written, zeros too, so the length tells the family.
    // A sign or capitals pass here, and are refused when the line is compared with what is written of it.
    match digits.len() {
        8 => u32::from_str_radix(digits, 16).ok().map(|bits| Ipv4Addr::from(bits).into()),
        32 => u128::from_str_radix(digits, 16).ok().map(|bits| Ipv6Addr::from(bits).into()),
        _ => None,
    }
}

/// The revision behind a prefix.
pub(super) fn revision(text: &str, prefix: &str) -> Option<Revision> {
    text.strip_prefix(prefix)?.parse().ok()
}
