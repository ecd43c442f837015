//! Pure work on several cores, where there is enough of it.

use std::thread;

/// Fewer items than this are not worth a thread.
const WORTH_IT: usize = 512;

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
    let map_share = |share: &'a [T]| -> Vec<R> {
        let mut own = own();
        share.iter().map(|item| f(&mut own, item)).collect()
    };
    let cores = thread::available_parallelism().map_or(1, usize::from).min(8);
    if items.len() < WORTH_IT || cores == 1 {
        return map_share(items);
    }
    let share = items.len().div_ceil(cores);
    let map_share = &map_share;
    thread::scope(|scope| {
        let threads: Vec<_> =
            items.chunks(share).map(|chunk| scope.spawn(move || map_share(chunk))).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(results) => results,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    })
}
