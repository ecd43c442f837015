//! Pure work on several cores, where there is enough of it.

use std::cmp::Ordering;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use crate::invariant::{bug, carried};

/// Fewer items than this are not worth a thread.
const WORTH_IT: usize = 512;
/// So many items are prefetched at a time (see [`crate::collections::prefetch`]): what they take fits into the nearest cache.
const PREFETCHED: usize = 32;
/// At most so many items are taken at a time: no trouble to take, and mostly little to wait for.
const TURN: usize = 4 * PREFETCHED;

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(8)
}

/// Maps items in order.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    map_prefetching(items, |_| (), f)
}

/// Maps items in order, and prefetches what some of them lead to before they are mapped.
pub(crate) fn map_prefetching<T: Sync, R: Send>(
    items: &[T],
    prefetch: impl Fn(&[T]) + Sync,
    f: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    map_on(threads_for(items), items, &|| (), &prefetch, &|(), item| f(item), || ())
}

/// Maps items in order, with something that each core has of its own.
pub(crate) fn map_with<'a, T: Sync, S, R: Send>(
    items: &'a [T],
    own: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, &'a T) -> R + Sync,
) -> Vec<R> {
    map_prefetching_with(items, own, |_| (), f)
}

/// Maps items in order, with both.
pub(crate) fn map_prefetching_with<'a, T: Sync, S, R: Send>(
    items: &'a [T],
    own: impl Fn() -> S + Sync,
    prefetch: impl Fn(&'a [T]) + Sync,
    f: impl Fn(&mut S, &'a T) -> R + Sync,
) -> Vec<R> {
    map_on(threads_for(items), items, &own, &prefetch, &f, || ())
}

fn threads_for<T>(items: &[T]) -> usize {
    if items.len() < WORTH_IT { 1 } else { cores() }
}

/// Maps items in order on so many threads, this one among them once it has done what it has to do first. Whoever is done
/// with some takes the next: a core that is taken away for a while leaves what it has not begun to the others.
fn map_on<'a, T: Sync, S, R: Send>(
    threads: usize,
    items: &'a [T],
    own: &(impl Fn() -> S + Sync),
    prefetch: &(impl Fn(&'a [T]) + Sync),
    f: &(impl Fn(&mut S, &'a T) -> R + Sync),
    first: impl FnOnce(),
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
            for (items, results) in items.chunks(PREFETCHED).zip(results.chunks_mut(PREFETCHED)) {
                prefetch(items);
                items.iter().zip(results).for_each(|(item, result)| *result = Some(f(&mut own, item)));
            }
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(carried(work))).collect();
        first();
        work();
        others.into_iter().for_each(join);
    });
    let results: Vec<R> = results.into_iter().flatten().collect();
    // Whoever asked takes them to be those of the items, in order.
    if results.len() != items.len() {
        bug!("{} items have {} results", items.len(), results.len());
    }
    results
}

/// Maps items in order, a batch at a time. This thread takes the results of a batch while others map the next, and then
/// helps them.
pub(crate) fn map_batches<T: Sync, R: Send>(
    items: &[T],
    batch: usize,
    prefetch: impl Fn(&[T]) + Sync,
    f: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(Vec<R>),
) {
    // Also for a last batch that is not worth a thread by itself: there are results to take meanwhile.
    let threads = threads_for(items);
    let mut results = Vec::new();
    for batch in items.chunks(batch) {
        let before = std::mem::take(&mut results);
        results = map_on(threads, batch, &|| (), &prefetch, &|(), item| f(item), || take(before));
    }
    take(results);
}

/// Sorts a part of the items for each core, in place: a stable sort then only has to merge them.
pub(crate) fn sort_parts<T: Send>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering + Sync) {
    for_each_part(items, |part| part.sort_by(&compare));
}

/// Changes a part of the items for each core, in place.
pub(crate) fn for_each_part<T: Send>(items: &mut [T], f: impl Fn(&mut [T]) + Sync) {
    let (threads, f) = (threads_for(items), &f);
    thread::scope(|scope| {
        let mut parts = items.chunks_mut(items.len().div_ceil(threads).max(1));
        let first = parts.next();
        parts.for_each(|part| _ = scope.spawn(carried(move || f(part))));
        first.into_iter().for_each(f);
    });
}

/// Does two things at once, one of them here.
pub(crate) fn both<A: Send, B>(there: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let there = scope.spawn(carried(there));
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
            let prefetch =
                |some: &[usize]| some.iter().for_each(|it| _ = asked[*it].fetch_add(1, Ordering::SeqCst));
            let double = |mapped: &mut usize, item: &usize| {
                assert_eq!(asked[*item].load(Ordering::SeqCst), 1);
                // Some take longer than others.
                (0..(item % 7) * 1_000).for_each(|number| _ = std::hint::black_box(number));
                *mapped += 1;
                (item * 2, *mapped)
            };
            let results = map_on(3, &items, &|| 0, &prefetch, &double, || ());
            assert!(results.iter().map(|(doubled, _)| *doubled).eq((0..count).map(|it| it * 2)));
            assert!(results.iter().all(|(_, mapped)| *mapped > 0));
        }
    }

    #[test]
    fn batches_are_taken_in_order_and_whole() {
        for count in [0, 1, WORTH_IT - 1, 3 * WORTH_IT, 3 * WORTH_IT + 1] {
            let items: Vec<usize> = (0..count).collect();
            let (mut taken, mut lengths) = (Vec::new(), Vec::new());
            let double = |item: &usize| item * 2;
            map_batches(
                &items,
                WORTH_IT,
                |_| (),
                double,
                |results| {
                    lengths.push(results.len());
                    taken.extend(results);
                },
            );
            assert!(taken.into_iter().eq((0..count).map(|it| it * 2)));
            lengths.retain(|length| *length > 0);
            assert_eq!(lengths, items.chunks(WORTH_IT).map(<[usize]>::len).collect::<Vec<_>>());
        }
    }

    #[test]
    #[should_panic(expected = "item 700")]
    fn a_panic_is_that_of_the_item() {
        let items: Vec<usize> = (0..1_000).collect();
        let f = |(): &mut (), item: &usize| assert_ne!(*item, 700, "item 700");
        map_on(3, &items, &|| (), &|_| (), &f, || ());
    }
}
