//! How many questions each asker has: who asks very much waits behind itself, not in front of everybody else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Questions of one asker that wait or are answered. Turns are taken in order, so another asker waits for so many at most.
const OF_ONE: usize = 8;

/// The askers that have questions.
#[derive(Debug, Default, Clone)]
pub(super) struct Askers(Arc<Mutex<BTreeMap<Arc<str>, usize>>>);

/// The place of one question, until it is dropped.
#[derive(Debug)]
pub(super) struct QuestionPlace {
    askers: Askers,
    user: Arc<str>,
}

impl Askers {
    /// A place for a question of `user`; `None`: it has too many.
    pub(super) fn place(&self, user: &Arc<str>) -> Option<QuestionPlace> {
        let mut askers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = askers.entry(Arc::clone(user)).or_default();
        (*count < OF_ONE).then(|| {
            *count += 1;
            QuestionPlace { askers: self.clone(), user: Arc::clone(user) }
        })
    }
}

impl Drop for QuestionPlace {
    fn drop(&mut self) {
        let mut askers = self.askers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = askers.get_mut(&self.user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                askers.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_many_questions_gets_no_place_and_others_do() {
        let (askers, [one, other]) = (Askers::default(), ["one", "other"].map(Arc::<str>::from));
        let mut places: Vec<QuestionPlace> = std::iter::from_fn(|| askers.place(&one)).collect();
        assert_eq!(places.len(), OF_ONE);
        let others = askers.place(&other);
        assert!(others.is_some(), "whatever somebody else asks");
        places.pop();
        places.extend(askers.place(&one));
        assert_eq!((places.len(), askers.place(&one).is_none()), (OF_ONE, true));
        drop((places, others));
        assert!(askers.0.lock().unwrap().is_empty(), "who asks nothing is forgotten");
    }
}
