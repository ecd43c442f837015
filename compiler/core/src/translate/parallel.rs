//! Pure work on several cores, where there is enough of it.

use std::thread::{self, ScopedJoinHandle};

/// Fewer items than this are not worth a thread.
const WORTH_IT: usize = 512;

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(8)
}

/// Maps items in order.
pub(super) fn map<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    map_with(items, || (), |(), item| f(item))
}

/// Maps items in order, with something that each core has of its own.
pub(super) fn map_with<'a, T: Sync, S, R: Send>(
    items: &'a [T],
    own: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, &'a T) -> R + Sync,
) -> Vec<R> {
    let threads = if items.len() < WORTH_IT { 1 } else { cores() };
    map_on(threads, items, &own, &f)
}

/// Maps items in order on so many threads, this one among them.
fn map_on<'a, T: Sync, S, R: Send>(
    threads: usize,
    items: &'a [T],
    own: &(impl Fn() -> S + Sync),
    f: &(impl Fn(&mut S, &'a T) -> R + Sync),
) -> Vec<R> {
    let map_share = &|share: &'a [T], results: &mut Vec<R>| {
        let mut own = own();
        results.extend(share.iter().map(|item| f(&mut own, item)));
    };
    let mut results = Vec::with_capacity(items.len());
    let mut shares = items.chunks(items.len().div_ceil(threads).max(1));
    let first = shares.next().unwrap_or_default();
    thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|share| {
                scope.spawn(move || {
                    let mut results = Vec::with_capacity(share.len());
                    map_share(share, &mut results);
                    results
                })
            })
            .collect();
        map_share(first, &mut results);
        others.into_iter().for_each(|other| results.append(&mut join(other)));
        results
    })
}

/// Maps items in order, a batch at a time. Each batch is mapped by other threads while this one takes the results of
/// the batch before.
pub(super) fn ahead<T: Sync, R: Send>(
    items: &[T],
    batch: usize,
    f: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(Vec<R>),
) {
    let mut batches = items.chunks(batch);
    let Some(first) = batches.next() else { return };
    let (mut results, others) = (map(first, &f), cores() - 1);
    let f = &f;
    for next in batches {
        if others == 0 {
            take(std::mem::replace(&mut results, map(next, f)));
            continue;
        }
        results = thread::scope(|scope| {
            let next = scope.spawn(move || map_on(others, next, &|| (), &|(), item| f(item)));
            take(std::mem::take(&mut results));
            join(next)
        });
    }
    take(results);
}

/// Does two things at once, one of them here.
pub(super) fn both<A: Send, B>(there: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
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
