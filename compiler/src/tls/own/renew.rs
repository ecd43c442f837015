//! When certificates are renewed: decisions from what there is and the time, without any I/O.

use std::collections::BTreeSet;

use time::{Duration, OffsetDateTime};

use super::authority::Authority;
use super::leaf::Leaf;
use super::material::Material;
use super::x509::Validity;

/// How long certificates live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// How long an authority is valid. It is followed by another after two thirds of that.
    pub authority: Duration,
    /// How long a leaf is valid, renewed after two thirds of that.
    pub leaf: Duration,
    /// How long a new authority is published before it signs, and an old one after it has signed last. Longer than
    /// anything takes to reach every agent.
    pub overlap: Duration,
    /// How far back validity begins: clocks differ.
    pub backdate: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            authority: Duration::days(365),
            leaf: Duration::days(30),
            overlap: Duration::days(1),
            backdate: Duration::hours(1),
        }
    }
}

/// Authorities that are kept, should clocks jump about: the newest.
const MOST_AUTHORITIES: usize = 5;

/// What there should be at `now` instead of `material`; `None` if nothing is due. The leaf is for `names` and whatever
/// the one before it was for: replicas of two versions must not undo each other's.
///
/// # Errors
/// When a certificate cannot be made, such as for a name that is none.
pub fn renew(
    material: &Material,
    names: &BTreeSet<String>,
    now: OffsetDateTime,
    lifetimes: &Lifetimes,
) -> Result<Option<Material>, rcgen::Error> {
    let mut renewed = material.clone();
    let authorities = &mut renewed.authorities;
    if authorities.last().is_none_or(|newest| is_old(newest.valid, now, lifetimes)) {
        authorities.push(Authority::make(lifetimes.validity(now, lifetimes.authority))?);
    }
    // Who is followed by one that has signed for long enough has nothing left that anybody verifies.
    let retired = |next: &Authority| now >= lifetimes.made(next.valid) + lifetimes.overlap * 2;
    while let [oldest, next, ..] = authorities.as_slice()
        && (!oldest.is_valid(now) || retired(next) || authorities.len() > MOST_AUTHORITIES)
    {
        authorities.remove(0);
    }
    // The newest that every agent has had the time to learn of; else the oldest that is valid, at the very beginning.
    let mut valid = authorities.iter().filter(|authority| authority.is_valid(now));
    let published = valid.clone().rev().find(|it| now >= lifetimes.made(it.valid) + lifetimes.overlap);
    let Some(signing) = published.or_else(|| valid.next()) else { return Ok(None) };
    let leaf = renewed.leaf.as_ref().filter(|leaf| {
        leaf.issuer == signing.name && names.is_subset(&leaf.names) && !is_old(leaf.valid, now, lifetimes)
    });
    if leaf.is_none() {
        // Names are added and never taken: a replica of another version may want its own, and the two would renew for ever.
        let former = renewed.leaf.as_ref().map(|leaf| leaf.names.clone()).unwrap_or_default();
        let names = names.union(&former).cloned().collect();
        renewed.leaf = Some(Leaf::make(signing, names, lifetimes.validity(now, lifetimes.leaf))?);
    }
    Ok((renewed != *material).then_some(renewed))
}

impl Lifetimes {
    fn validity(&self, now: OffsetDateTime, life: Duration) -> Validity {
        Validity { from: now - self.backdate, until: now + life }
    }

    fn made(&self, valid: Validity) -> OffsetDateTime {
        valid.from + self.backdate
    }
}

/// Returns true if two thirds of a life are over. One that begins in the future is of a clock that was wrong.
fn is_old(valid: Validity, now: OffsetDateTime, lifetimes: &Lifetimes) -> bool {
    let made = lifetimes.made(valid);
    // One that is not valid yet was made by a clock that is ahead by more than the backdating.
    valid.from > now || now >= made + (valid.until - made) * 2 / 3
}

#[cfg(test)]
#[path = "renew_tests.rs"]
mod tests;
