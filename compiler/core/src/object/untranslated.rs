//! What an object says beside what its translation depends on.

use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// A part of an object that no rule depends on. Any two are equal: objects that differ in it alone do not differ, so the
/// world takes the newer one over and nothing is computed again. Compare what is inside to tell them apart.
#[derive(Debug, Clone, Copy, Default)]
pub struct Untranslated<T>(pub T);

impl<T> PartialEq for Untranslated<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Untranslated<T> {}

impl<T> Hash for Untranslated<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl<T> Deref for Untranslated<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
