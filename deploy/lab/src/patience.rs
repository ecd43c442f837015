//! How much longer everything takes on this machine than on a developer's: a factor for every limit of the tests.

use std::sync::OnceLock;
use std::time::Duration;

/// The environment variable that holds the factor, a whole number.
const VARIABLE: &str = "FLOCK_PATIENCE";

/// `limit` times `FLOCK_PATIENCE`, which is 1 unless it is set. An emulated machine (`deploy/kernels`) sets it, since
/// silence there means less than it does elsewhere.
#[must_use]
pub fn patient(limit: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    limit * *FACTOR.get_or_init(|| factor(std::env::var(VARIABLE).ok().as_deref()))
}

/// What the variable says; what is no factor changes nothing.
fn factor(value: Option<&str>) -> u32 {
    value.and_then(|value| value.parse().ok()).filter(|factor| (1..=1_000).contains(factor)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::factor;

    #[test]
    fn a_factor_is_a_whole_number_above_0() {
        assert_eq!([Some("1"), Some("10"), Some("1000")].map(factor), [1, 10, 1000]);
        assert_eq!([None, Some(""), Some("0"), Some("1.5"), Some("1001")].map(factor), [1; 5]);
    }
}
