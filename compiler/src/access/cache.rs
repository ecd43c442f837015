//! Answers of the API server, briefly remembered by the hash of the question: so many, and each asked for once however many
//! wait for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

/// A hash of the question, so that a caller cannot make its own collide with another's.
pub(super) type CacheKey = [u8; 32];

/// An answer and when it came, once there is one. Locked while it is asked for.
type Slot<V> = Arc<AsyncMutex<Option<(Instant, V)>>>;

/// Answers to questions.
#[derive(Debug)]
pub(super) struct Cache<V> {
    slots: Mutex<Slots<V>>,
    capacity: usize,
}

#[derive(Debug)]
struct Slots<V> {
    by_key: HashMap<CacheKey, Slot<V>>,
    /// The oldest first.
    order: VecDeque<CacheKey>,
}

impl<V: Clone> Cache<V> {
    /// A cache of so many answers; the oldest question is forgotten for a new one.
    pub(super) fn new(capacity: usize) -> Self {
        let slots = Slots { by_key: HashMap::new(), order: VecDeque::new() };
        Self { slots: Mutex::new(slots), capacity }
    }

    /// The answer, unless it is older than `max_age`; else what `ask` gives, which is not begun before. An error is not remembered.
    pub(super) async fn get<E>(
        &self,
        key: CacheKey,
        max_age: Duration,
        ask: impl Future<Output = Result<V, E>>,
    ) -> Result<V, E> {
        let slot = self.slot(key);
        // Locked while `ask` runs: others with the same question wait here, and find its answer.
        let mut answer = slot.lock().await;
        if let Some((at, value)) = &*answer
            && at.elapsed() < max_age
        {
            return Ok(value.clone());
        }
        // A caller that goes away here lets go of the lock, and the next one asks by itself.
        let value = ask.await?;
        *answer = Some((Instant::now(), value.clone()));
        Ok(value)
    }

    fn slot(&self, key: CacheKey) -> Slot<V> {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.by_key.get(&key) {
            return Arc::clone(slot);
        }
        if slots.by_key.len() >= self.capacity
            && let Some(oldest) = slots.order.pop_front()
        {
            // Those who wait for its answer hold the slot, and still get it.
            slots.by_key.remove(&oldest);
        }
        let slot = Slot::default();
        slots.by_key.insert(key, Arc::clone(&slot));
        slots.order.push_back(key);
        slot
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const AGE: Duration = Duration::from_secs(10);

    async fn asked(cache: &Cache<u32>, key: u8, counter: &AtomicU32) -> Result<u32, ()> {
        let ask = async {
            tokio::task::yield_now().await;
            Ok(counter.fetch_add(1, Ordering::Relaxed))
        };
        cache.get([key; 32], AGE, ask).await
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_at_once_share_an_answer_until_it_is_old() {
        let (cache, counter) = (Cache::new(2), AtomicU32::new(0));
        let both = tokio::join!(asked(&cache, 1, &counter), asked(&cache, 1, &counter));
        assert_eq!(both, (Ok(0), Ok(0)));
        tokio::time::advance(AGE).await;
        assert_eq!(asked(&cache, 1, &counter).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_question_is_forgotten_for_a_new_one() {
        let (cache, counter) = (Cache::new(2), AtomicU32::new(0));
        for (key, answer) in [(1, 0), (2, 1), (3, 2), (2, 1), (1, 3)] {
            assert_eq!(asked(&cache, key, &counter).await, Ok(answer), "{key}");
        }
        assert_eq!(cache.slots.lock().by_key.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_nobodys_answer() {
        let (cache, counter) = (Cache::new(2), AtomicU32::new(0));
        assert_eq!(cache.get([1; 32], AGE, async { Err::<u32, _>("away") }).await, Err("away"));
        assert_eq!(asked(&cache, 1, &counter).await, Ok(0));
    }
}
