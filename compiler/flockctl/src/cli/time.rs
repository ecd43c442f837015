//! Times as they are typed.

use std::time::Duration;

/// The longest time that is waited.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A time as Go writes it: numbers with h, m, s or ms, the larger unit first.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a time such as 90s or 2m, at most {} h", LONGEST.as_secs() / 3600);
    let (mut rest, mut total) = (text, Duration::ZERO);
    // `ms` before `m`, which it begins with.
    let units = [("h", 3_600_000), ("ms", 1), ("m", 60_000), ("s", 1000)];
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let (digits, after) = rest.split_at(end);
        let (unit, milliseconds) =
            units.into_iter().find(|(unit, _)| after.starts_with(unit)).ok_or_else(wrong)?;
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let part = number.checked_mul(milliseconds).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(wrong)?;
        rest = after.strip_prefix(unit).unwrap_or_default();
    }
    if text.is_empty() || total > LONGEST { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, milliseconds) in [("0s", 0), ("250ms", 250), ("2m", 120_000), ("1h1m1s1ms", 3_661_001)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in ["", "2", "s", "1d", "1.5s", "99999999999999999999s", "99999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
