//! A count that is kept by hand: how many hold a thing, or what things come to together.

use std::fmt;

use crate::invariant::bug;

/// How many there are. One that would be less than none, or more than can be counted, is a broken invariant, and stays
/// as it is.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Count<N = u32>(N);

impl<N: Copy + Into<u64> + TryFrom<u64>> Count<N> {
    pub(crate) const fn of(count: N) -> Self {
        Self(count)
    }

    pub(crate) fn get(self) -> N {
        self.0
    }

    pub(crate) fn is_zero(self) -> bool {
        self.0.into() == 0
    }

    /// So many more.
    #[track_caller]
    pub(crate) fn add(&mut self, more: N) {
        self.set(self.0.into().checked_add(more.into()), '+', more);
    }

    /// So many fewer.
    #[track_caller]
    pub(crate) fn sub(&mut self, fewer: N) {
        self.set(self.0.into().checked_sub(fewer.into()), '-', fewer);
    }

    #[track_caller]
    fn set(&mut self, count: Option<u64>, step: char, by: N) {
        match count.and_then(|count| N::try_from(count).ok()) {
            Some(count) => self.0 = count,
            None => bug!("a count comes to {} {step} {}", self.0.into(), by.into()),
        }
    }
}

impl<N: Copy + Into<u64> + TryFrom<u64> + From<bool>> Count<N> {
    pub(crate) fn one() -> Self {
        Self(N::from(true))
    }

    /// One more; how many there are now.
    #[track_caller]
    pub(crate) fn one_more(&mut self) -> N {
        self.add(N::from(true));
        self.0
    }

    /// One fewer; how many are left.
    #[track_caller]
    pub(crate) fn one_fewer(&mut self) -> N {
        self.sub(N::from(true));
        self.0
    }

    /// One more, or one fewer.
    #[track_caller]
    pub(crate) fn step(&mut self, is_more: bool) {
        _ = if is_more { self.one_more() } else { self.one_fewer() };
    }
}

impl<N: fmt::Debug> fmt::Debug for Count<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariant::{OnBreak, Watch};

    #[test]
    fn a_count_never_wraps() {
        let watch = Watch::new(OnBreak::Note);
        let mut count = Count::<u32>::default();
        assert_eq!((count.one_more(), count.one_more(), count.one_fewer()), (1, 2, 1));
        count.add(u32::MAX - 1);
        assert_eq!((count.get(), watch.take()), (u32::MAX, None));
        watch.over(|| count.one_more());
        assert_eq!((count.get(), watch.take().map(|(count, _)| count)), (u32::MAX, Some(1)));
        count.sub(u32::MAX);
        assert!(count.is_zero());
        watch.over(|| count.one_fewer());
        let (_, first) = watch.take().unwrap();
        assert!(count.is_zero() && first.starts_with("a count comes to 0 - 1, "), "{first}");
        assert_eq!(size_of::<Count>(), size_of::<u32>());
    }
}
