//! What the compiler says about connections that are tracked.

use flock_shared::prefixes::{PREFIXES_LIMIT, Prefix, Prefixes};

use crate::flows::{address, of_address};
use crate::{FLOWS_LIMIT, WireError, v1};

/// What is to be done about connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forget {
    /// These addresses may have lost something: once the update is committed, their connections are asked about.
    Lost(Prefixes),
    /// The answer to a question. The update is not acknowledged.
    Answer {
        /// The question's number.
        number: u64,
        /// The answer.
        answer: Answer,
    },
}

/// An answer to [`crate::Flows`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The places of the flows that are not allowed, ascending.
    Denied(Vec<u32>),
    /// The addresses to look at.
    Lost(Prefixes),
}

impl From<Forget> for v1::Forget {
    fn from(forget: Forget) -> Self {
        let forget = match forget {
            Forget::Lost(prefixes) => v1::forget::Forget::Lost(v1::Lost { prefixes: to_wire(&prefixes) }),
            Forget::Answer { number, answer } => {
                let (denied, lost) = match answer {
                    Answer::Denied(places) => (places, Vec::new()),
                    Answer::Lost(prefixes) => (Vec::new(), to_wire(&prefixes)),
                };
                v1::forget::Forget::Answer(v1::Answer { number, denied, lost })
            }
        };
        Self { forget: Some(forget) }
    }
}

impl TryFrom<v1::Forget> for Forget {
    type Error = WireError;

    fn try_from(wire: v1::Forget) -> Result<Self, WireError> {
        match wire.forget.ok_or(WireError::Missing { field: "forget.forget" })? {
            v1::forget::Forget::Lost(lost) => from_wire("lost.prefixes", &lost.prefixes).map(Self::Lost),
            v1::forget::Forget::Answer(v1::Answer { number, denied, lost }) => {
                let answer = if lost.is_empty() {
                    Answer::Denied(places(denied)?)
                } else if let Some(value) = denied.first() {
                    return Err(WireError::Number { field: "answer.denied", value: *value });
                } else {
                    Answer::Lost(from_wire("answer.lost", &lost)?)
                };
                Ok(Self::Answer { number, answer })
            }
        }
    }
}

/// Places among flows, each once.
fn places(denied: Vec<u32>) -> Result<Vec<u32>, WireError> {
    let count = denied.len();
    if count > FLOWS_LIMIT {
        return Err(WireError::TooMany { field: "answer.denied", count, limit: FLOWS_LIMIT });
    }
    let out_of_order = denied.windows(2).find(|pair| matches!(pair, [a, b] if a >= b));
    // In order, so the last place is the highest.
    let too_high = denied.last().filter(|place| usize::try_from(**place).is_ok_and(|it| it >= FLOWS_LIMIT));
    match out_of_order.and_then(<[u32]>::last).or(too_high) {
        Some(value) => Err(WireError::Number { field: "answer.denied", value: *value }),
        None => Ok(denied),
    }
}

fn to_wire(prefixes: &Prefixes) -> Vec<v1::Prefix> {
    let wire = |prefix: &Prefix| v1::Prefix {
        address: of_address(prefix.address()),
        length: prefix.length().into(),
    };
    prefixes.iter().map(wire).collect()
}

fn from_wire(field: &'static str, wire: &[v1::Prefix]) -> Result<Prefixes, WireError> {
    if wire.len() > PREFIXES_LIMIT {
        return Err(WireError::TooMany { field, count: wire.len(), limit: PREFIXES_LIMIT });
    }
    let prefix = |wire: &v1::Prefix| {
        let address = address("prefix.address", &wire.address)?;
        Prefix::new(address, wire.length).map_err(|source| WireError::Prefix { field, source })
    };
    wire.iter().map(prefix).collect::<Result<Vec<Prefix>, _>>().map(Prefixes::from_iter)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use bytes::Bytes;
    use flock_shared::prefixes::PrefixError;
    use prost::Message as _;

    use super::*;

    fn prefixes() -> Prefixes {
        let addresses = (0..PREFIXES_LIMIT as u128)
            .map(|pod| IpAddr::from((0xfd00_u128 << 112 | pod << 7).to_be_bytes()));
        addresses.collect()
    }

    #[test]
    fn survives_the_wire() {
        let answers = [
            Answer::Denied(Vec::new()),
            Answer::Denied(vec![0, 7, FLOWS_LIMIT as u32 - 1]),
            Answer::Lost(prefixes()),
        ];
        let answers = answers.map(|answer| Forget::Answer { number: 7, answer });
        for forget in answers.into_iter().chain([Forget::Lost(prefixes()), Forget::Lost(Prefixes::default())])
        {
            let wire = v1::Forget::from(forget.clone());
            assert!(wire.encoded_len() < 6 * 1024);
            assert_eq!(Forget::try_from(wire), Ok(forget));
        }
    }

    #[test]
    fn refusals() {
        let lost = |prefixes| {
            Forget::try_from(v1::Forget { forget: Some(v1::forget::Forget::Lost(v1::Lost { prefixes })) })
        };
        let prefix =
            |address: &'static [u8], length| v1::Prefix { address: Bytes::from_static(address), length };
        let count = PREFIXES_LIMIT + 1;
        let too_many = WireError::TooMany { field: "lost.prefixes", count, limit: PREFIXES_LIMIT };
        assert_eq!(lost(vec![prefix(&[10, 0, 0, 1], 32); count]), Err(too_many));
        let short = WireError::Address { field: "prefix.address", length: 0 };
        assert_eq!(lost(vec![prefix(&[], 0)]), Err(short));
        let source = PrefixError::Length { length: 33, limit: 32 };
        let long = WireError::Prefix { field: "lost.prefixes", source };
        assert_eq!(lost(vec![prefix(&[10, 0, 0, 1], 33)]), Err(long));
        let answer = |denied, lost| {
            Forget::try_from(v1::Forget {
                forget: Some(v1::forget::Forget::Answer(v1::Answer { number: 1, denied, lost })),
            })
        };
        for (denied, value) in [(vec![1, 1], 1), (vec![2, 1], 1), (vec![1, 1024], 1024)] {
            let refused = WireError::Number { field: "answer.denied", value };
            assert_eq!(answer(denied, Vec::new()), Err(refused));
        }
        let both = answer(vec![1], vec![prefix(&[10, 0, 0, 1], 32)]);
        assert_eq!(both, Err(WireError::Number { field: "answer.denied", value: 1 }));
        let many = answer((0..2000).collect(), Vec::new());
        assert!(matches!(many, Err(WireError::TooMany { field: "answer.denied", .. })));
    }
}
