//! Medians and percentiles of samples.

/// Samples in brief, in their own unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// The smallest.
    pub least: f64,
    /// Half are at most this.
    pub median: f64,
    /// 90 of 100 are at most this.
    pub p90: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// The largest.
    pub most: f64,
    /// Where the median of all samples that could be taken lies, with a confidence of 95 %: so far apart as these scatter.
    /// From the binomial distribution of how many are below it, so whatever distribution theirs is.
    pub interval: (f64, f64),
}

/// The summary of samples (nearest rank); not a number where there are none.
#[must_use]
pub fn summary(samples: impl IntoIterator<Item = f64>) -> Summary {
    let mut samples: Vec<f64> = samples.into_iter().collect();
    samples.sort_by(f64::total_cmp);
    let rank = |percent: usize| {
        let index = (samples.len() * percent).div_ceil(100).saturating_sub(1);
        samples.get(index).copied().unwrap_or(f64::NAN)
    };
    // 1.96 standard deviations of the binomial distribution are about the square root of their number.
    let (middle, aside) = (samples.len() as f64 / 2.0, 0.98 * (samples.len() as f64).sqrt());
    let at = |rank: f64| samples.get(rank.max(0.0) as usize).or(samples.last()).copied().unwrap_or(f64::NAN);
    Summary {
        interval: (at((middle - aside).floor()), at((middle + aside).ceil())),
        count: samples.len(),
        least: rank(0),
        median: rank(50),
        p90: rank(90),
        p99: rank(99),
        most: rank(100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_samples() {
        let Summary { count, least, median, p90, p99, most, interval } =
            summary((1..=200).rev().map(f64::from));
        assert_eq!((count, least, median, p90, p99, most), (200, 1.0, 100.0, 180.0, 198.0, 200.0));
        assert_eq!(interval, (87.0, 115.0));
        let single = summary([7.0]);
        assert_eq!((single.least, single.median, single.p99, single.most), (7.0, 7.0, 7.0, 7.0));
        assert_eq!(single.interval, (7.0, 7.0));
        assert!(summary([]).median.is_nan());
    }
}
