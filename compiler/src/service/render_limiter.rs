//! Keeps a storm of large scripts within bounds: so many are made at once, so many bytes wait for the network.
//!
//! By hand: tower's limit gives its permit back with the response, and here it is kept until the bytes are written.

use std::sync::Arc;

use flock_shared::Script;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::Limits;

/// Bytes that are counted as one, so that any script's size is a number of permits.
const UNIT: usize = 1024;

/// Permission to make one large script.
#[derive(Debug)]
pub(super) struct RenderPermit(OwnedSemaphorePermit);

/// A script, and the room that it takes until it is written.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) script: Script,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// The bounds, shared by all streams.
#[derive(Debug)]
pub(super) struct RenderLimiter {
    turns: Arc<Semaphore>,
    room: Arc<Semaphore>,
    units: usize,
}

impl RenderLimiter {
    pub(super) fn new(limits: &Limits) -> Self {
        let units = limits.unwritten.get().div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self {
            turns: Arc::new(Semaphore::new(limits.renders.get())),
            room: Arc::new(Semaphore::new(units)),
            units,
        }
    }

    /// Waits for a permit, first come, first served.
    pub(super) async fn permit(&self) -> RenderPermit {
        match Arc::clone(&self.turns).acquire_owned().await {
            Ok(permit) => RenderPermit(permit),
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Makes a script off the async threads. The permit ends when there is room for the script, so what is rendered never runs
    /// far ahead of what is written. A script that is larger than all the room takes all of it.
    pub(super) async fn render(
        &self,
        permit: RenderPermit,
        render: impl FnOnce() -> Script + Send + 'static,
    ) -> Rendered {
        let (script, room) = self.make(permit, render, |script| script.bytes().len()).await;
        Rendered { script, room }
    }

    /// The same for whatever is large; `size` tells of how many bytes it is.
    pub(super) async fn make<T: Send + 'static>(
        &self,
        permit: RenderPermit,
        make: impl FnOnce() -> T + Send + 'static,
        size: impl FnOnce(&T) -> usize,
    ) -> (T, Option<OwnedSemaphorePermit>) {
        let Ok(made) = tokio::task::spawn_blocking(make).await else {
            // The runtime is shutting down; or it panicked, in a debug build: then whoever waits is dropped with the test.
            return std::future::pending().await;
        };
        // The permit is still held: what is made waits here, and nothing else is made, until the network has taken enough.
        // What is larger than all the room takes all of it; else it would wait for ever.
        let units = size(&made).div_ceil(UNIT).min(self.units);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(units).await.ok();
        drop(permit.0);
        (made, room)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn render_limiter(renders: usize, unwritten: usize) -> Arc<RenderLimiter> {
        let some = |count| NonZeroUsize::new(count).unwrap();
        let limits = Limits { renders: some(renders), unwritten: some(unwritten), ..Limits::default() };
        Arc::new(RenderLimiter::new(&limits))
    }

    #[tokio::test]
    async fn a_storm_renders_no_more_at_once_than_it_may() {
        let render_limiter = render_limiter(3, 1 << 20);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut storm = tokio::task::JoinSet::new();
        for _ in 0..60 {
            let (render_limiter, running, most) =
                (Arc::clone(&render_limiter), Arc::clone(&running), Arc::clone(&most));
            storm.spawn(async move {
                let permit = render_limiter.permit().await;
                let render = move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    running.fetch_sub(1, Ordering::SeqCst);
                    Script::new("x")
                };
                drop(render_limiter.render(permit, render).await);
            });
        }
        assert_eq!(storm.join_all().await.len(), 60);
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    }

    #[tokio::test]
    async fn nothing_is_rendered_while_there_is_no_room() {
        let render_limiter = render_limiter(1, 4 * UNIT);
        let render = async |bytes: usize| {
            let permit = render_limiter.permit().await;
            render_limiter.render(permit, move || Script::new(vec![b'x'; bytes])).await
        };
        let larger_than_all = render(100 * UNIT).await;
        let mut next = std::pin::pin!(render(UNIT));
        let soon = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(soon, &mut next).await.is_err());
        drop(larger_than_all.room);
        assert_eq!(next.await.script.bytes().len(), UNIT);
    }
}
