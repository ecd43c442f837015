//! Pure work on several cores, where there is enough of it.

use std::cmp::Ordering;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

/// Fewer items than this are not worth a thread.
const WORTH_IT: usize = 512;
/// So many items are asked for at a time (see [`crate::ahead`]): what they take fits into the nearest cache.
const ASKED: usize = 32;
/// At most so many items are taken at a time: no trouble to take, and mostly little to wait for.
const TURN: usize = 4 * ASKED;

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(8)
}

/// Maps items in order.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    map_asking(items, |_| (), f)
}

/// Maps items in order, and has memory asked for some of them before they are mapped.
pub(crate) fn map_asking<T: Sync, R: Send>(
    items: &[T],
    ask: impl Fn(&[T]) + Sync,
    f: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    map_on(threads_for(items), items, &|| (), &ask, &|(), item| f(item))
}

/// Maps items in order, with something that each core has of its own.
pub(crate) fn map_with<'a, T: Sync, S, R: Send>(
    items: &'a [T],
    own: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, &'a T) -> R + Sync,
) -> Vec<R> {
    map_asking_with(items, own, |_| (), f)
}

/// Maps items in order, with both.
pub(crate) fn map_asking_with<'a, T: Sync, S, R: Send>(
    items: &'a [T],
    own: impl Fn() -> S + Sync,
    ask: impl Fn(&'a [T]) + Sync,
    f: impl Fn(&mut S, &'a T) -> R + Sync,
) -> Vec<R> {
    map_on(threads_for(items), items, &own, &ask, &f)
}

fn threads_for<T>(items: &[T]) -> usize {
    if items.len() < WORTH_IT { 1 } else { cores() }
}

/// Maps items in order on so many threads, this one among them. Whoever is done with some takes the next: a core that
/// is taken away for a while leaves what it has not begun to the others.
fn map_on<'a, T: Sync, S, R: Send>(
    threads: usize,
    items: &'a [T],
    own: &(impl Fn() -> S + Sync),
    ask: &(impl Fn(&'a [T]) + Sync),
    f: &(impl Fn(&mut S, &'a T) -> R + Sync),
) -> Vec<R> {
    let mut results: Vec<Option<R>> = Vec::new();
    results.resize_with(items.len(), || None);
    let turn = items.len().div_ceil(threads).clamp(1, TURN);
    let turns = &Mutex::new(items.chunks(turn).zip(results.chunks_mut(turn)));
    // Nothing panics while it is held.
    let next = || turns.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let mut own = own();
        while let Some((items, results)) = next() {
            for (items, results) in items.chunks(ASKED).zip(results.chunks_mut(ASKED)) {
                ask(items);
                items.iter().zip(results).for_each(|(item, result)| *result = Some(f(&mut own, item)));
            }
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        work();
        others.into_iter().for_each(join);
    });
    // Every one is there.
    results.into_iter().flatten().collect()
}

/// Maps items in order, a batch at a time. Each batch is mapped by other threads while this one takes the results of
/// the batch before.
pub(crate) fn ahead<T: Sync, R: Send>(
    items: &[T],
    batch: usize,
    ask: impl Fn(&[T]) + Sync,
    f: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(Vec<R>),
) {
    let mut batches = items.chunks(batch);
    let Some(first) = batches.next() else { return };
    let (f, ask) = (&f, &ask);
    let (mut results, others) = (map_asking(first, ask, f), cores() - 1);
    for next in batches {
        if others == 0 {
            take(std::mem::replace(&mut results, map_asking(next, ask, f)));
            continue;
        }
        results = thread::scope(|scope| {
            let next = scope.spawn(move || map_on(others, next, &|| (), ask, &|(), item| f(item)));
            take(std::mem::take(&mut results));
            join(next)
        });
    }
    take(results);
}

/// Sorts a part of the items for each core, in place: a stable sort then only has to merge them.
pub(crate) fn sort_parts<T: Send>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering + Sync) {
    let (threads, compare) = (threads_for(items), &compare);
    thread::scope(|scope| {
        let mut parts = items.chunks_mut(items.len().div_ceil(threads).max(1));
        let first = parts.next();
        parts.for_each(|part| _ = scope.spawn(move || part.sort_by(compare)));
        first.into_iter().for_each(|part| part.sort_by(compare));
    });
}

/// Does two things at once, one of them here.
pub(crate) fn both<A: Send, B>(there: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let there = scope.spawn(there);
        let here = here();
        (join(there), here)
    })
}

fn join<R>(thread: ScopedJoinHandle<'_, R>) -> R {
    match thread.join() {
        Ok(results) => results,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_come_in_order_and_all_is_asked_for_once_before() {
        for count in [0, 1, 31, 1_000, 1_001] {
            let items: Vec<usize> = (0..count).collect();
            let asked: Vec<AtomicUsize> = items.iter().map(|_| AtomicUsize::new(0)).collect();
            let ask =
                |some: &[usize]| some.iter().for_each(|it| _ = asked[*it].fetch_add(1, Ordering::SeqCst));
            let double = |mapped: &mut usize, item: &usize| {
                assert_eq!(asked[*item].load(Ordering::SeqCst), 1);
                // Some take longer than others.
                (0..(item % 7) * 1_000).for_each(|number| _ = std::hint::black_box(number));
                *mapped += 1;
                (item * 2, *mapped)
            };
            let results = map_on(3, &items, &|| 0, &ask, &double);
            assert!(results.iter().map(|(doubled, _)| *doubled).eq((0..count).map(|it| it * 2)));
            assert!(results.iter().all(|(_, mapped)| *mapped > 0));
        }
    }

    #[test]
    #[should_panic(expected = "item 700")]
    fn a_panic_is_that_of_the_item() {
        let items: Vec<usize> = (0..1_000).collect();
        let f = |(): &mut (), item: &usize| assert_ne!(*item, 700, "item 700");
        map_on(3, &items, &|| (), &|_| (), &f);
    }
}
