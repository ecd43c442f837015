//! Invariants of the translation, and what comes of one that turns out to be broken: a mistake in this crate, whatever
//! its input.
//!
//! A debug or test build panics, so that a mistake is found where it was made. A release notes it, and what was being
//! done goes on as if nothing were there; the translator then starts again from nothing
//! ([`crate::Translator::pass`]), so that a wrong id never leaves a rule out in silence. Whose work it is that goes on is
//! known by thread: threads that help with it are told ([`carried`]).

use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

/// What comes of a broken invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBreak {
    /// A panic.
    Panic,
    /// It is noted, and the translator starts again from nothing.
    Note,
}

impl Default for OnBreak {
    fn default() -> Self {
        if cfg!(debug_assertions) { Self::Panic } else { Self::Note }
    }
}

/// Invariants that turned out to be broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// How many times.
    pub count: u64,
    /// What was said the first time, and where.
    pub first: String,
    /// Whether a translation from nothing has mended it: what comes with this is complete.
    pub is_mended: bool,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, first, is_mended } = self;
        let outcome = if *is_mended { "mended by starting from nothing" } else { "not mended" };
        write!(f, "{first} ({count} in all, {outcome})")
    }
}

/// Notes what breaks while somebody's work goes on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch(Arc<Notes>);

#[derive(Debug, Default)]
struct Notes {
    on_break: OnBreak,
    noted: Mutex<Option<(u64, String)>>,
}

thread_local! {
    /// The watch over what this thread does.
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Gives a thread back to the watch that was over it before, also when the work panics.
struct Restore(Option<Watch>);

impl Drop for Restore {
    fn drop(&mut self) {
        WATCH.set(self.0.take());
    }
}

impl Watch {
    pub(crate) fn new(on_break: OnBreak) -> Self {
        Self(Arc::new(Notes { on_break, noted: Mutex::default() }))
    }

    /// Does some work; what breaks in it, here or in threads that help, is noted here.
    pub(crate) fn over<T>(&self, work: impl FnOnce() -> T) -> T {
        let _restore = Restore(WATCH.replace(Some(self.clone())));
        work()
    }

    /// Takes out what has broken since this was last asked: how many times, and what was said first.
    pub(crate) fn take(&self) -> Option<(u64, String)> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, first: impl FnOnce() -> String) {
        let mut noted = self.0.noted.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *noted {
            Some((count, _)) => *count = count.saturating_add(1),
            none => *none = Some((1, first())),
        }
    }
}

/// Work for another thread, which the watch over this one goes with.
pub(crate) fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let watch = WATCH.with_borrow(Clone::clone);
    move || match watch {
        Some(watch) => watch.over(work),
        None => work(),
    }
}

/// Says that an invariant is broken; see `bug!`.
#[cold]
#[inline(never)]
#[track_caller]
pub(crate) fn broken(words: fmt::Arguments<'_>) {
    let at = Location::caller();
    let watch = WATCH.with_borrow(Clone::clone);
    // What nobody watches, nobody can start anew.
    match watch {
        Some(watch) if watch.0.on_break == OnBreak::Note => watch.note(|| format!("{words}, {at}")),
        None if !cfg!(debug_assertions) => {}
        Some(_) | None => panic!("a broken invariant: {words}, {at}"),
    }
}

/// Says, in the words of a format, that something has turned out which cannot be.
macro_rules! bug {
    ($($words:tt)*) => {
        $crate::invariant::broken(format_args!($($words)*))
    };
}
pub(crate) use bug;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_is_noted_by_who_watches_also_in_threads_that_help() {
        let (watch, other) = (Watch::new(OnBreak::Note), Watch::new(OnBreak::Note));
        watch.over(|| {
            std::thread::scope(|scope| {
                let helper = scope.spawn(carried(|| bug!("number {}", 1)));
                helper.join().unwrap();
            });
            bug!("number {}", 2);
            other.over(|| bug!("another's"));
            bug!("number {}", 3);
        });
        let (count, first) = watch.take().unwrap();
        assert_eq!(count, 3);
        assert!(first.starts_with("number 1, ") && first.contains("invariant.rs"), "{first}");
        assert_eq!(watch.take(), None);
        assert_eq!(other.take().unwrap().0, 1);
    }

    #[test]
    fn tests_and_debug_builds_panic() {
        assert_eq!(OnBreak::default(), OnBreak::Panic);
        let watch = Watch::new(OnBreak::Panic);
        let panicked = std::panic::catch_unwind(|| watch.over(|| bug!("it")));
        assert!(panicked.is_err());
        assert!(std::panic::catch_unwind(|| bug!("it")).is_err(), "nobody watches");
        assert!(WATCH.with_borrow(Option::is_none), "the watch ends with the work");
    }
}
