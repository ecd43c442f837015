//! One kind's list and watch, for ever: list, follow the changes from there on, and list again when the server does
//! not remember where to resume or an event could not be read.
//!
//! Watches are short, and between two of them the store is asked for its version. A server that has vanished behind an
//! open connection is so found within one watch, and so is a store that has gone back: a watch from a version of the future
//! is taken, and brings nothing.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use flock_shared::backoff::Backoff;
use futures::TryStreamExt;
use kube::Client;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::{ObjectList, Request};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::WatchSettings;
use super::failure::WatchFailure;
use super::feed::{KindFeed, Listing};
use super::raw::RawObject;
use super::statistics::{KindStatistics, Statistics};
use super::watched::Watched;
use crate::source::{Events, SourceEvent, Version};
use flock_convert::Converter;

/// A watch has to last this long, or to bring an event, before it counts as open.
const SHORT_WATCH: Duration = Duration::from_secs(1);

/// So long without a reason to list again, the next one is listed for without a long pause.
const CALM: Duration = Duration::from_secs(60);

/// The receiver is gone: nobody needs the watch any more.
struct Closed;

/// Lists and watches one kind.
pub(super) struct Watcher<W: Watched> {
    client: Client,
    settings: WatchSettings,
    statistics: Arc<Statistics>,
    /// Tells of an answer after an outage, to the watches of other kinds and from them.
    answered: Arc<Notify>,
    events: Events,
    feed: KindFeed<W>,
    /// Pauses while the server cannot be asked; starts over once a watch is open.
    backoff: Backoff,
    /// Pauses before listings after the first, which cost the server most; starts over after a time without any.
    relist: Backoff,
    relisted: Option<Instant>,
    /// Since when requests fail; `None` while all is well.
    outage: Option<Instant>,
    /// True if a pause of this outage has ended early. One does: watches that are refused while listings are
    /// answered would wake each other without end.
    was_woken: bool,
}

impl<W: Watched> Watcher<W> {
    pub(super) fn new(
        client: Client,
        converter: Converter,
        settings: WatchSettings,
        statistics: Arc<Statistics>,
        answered: Arc<Notify>,
        events: Events,
    ) -> Self {
        Self {
            client,
            statistics,
            answered,
            events,
            feed: KindFeed::new(converter),
            backoff: settings.backoff.clone(),
            relist: settings.relist.clone(),
            relisted: None,
            outage: None,
            was_woken: false,
            settings,
        }
    }

    /// Returns only when nobody receives the events any more.
    pub(super) async fn run(mut self) {
        let Err(Closed) = self.list_and_follow().await;
    }

    async fn list_and_follow(&mut self) -> Result<Infallible, Closed> {
        let paged = Some(self.settings.page_size);
        let mut limit = paged;
        loop {
            match self.list(limit).await {
                Ok((listing, version)) => {
                    limit = paged;
                    self.counters().count_listing();
                    self.recovered();
                    // The whole listing in one event: a part of a world is not policy.
                    let said = self.feed.replace(listing, &version);
                    self.send(said).await?;
                    self.follow(version).await?;
                }
                Err(failure) => {
                    // A cluster may do without this kind. Any other that is missing is not to be taken for empty.
                    if W::OPTIONAL
                        && let Some(absence) = failure.absence()
                    {
                        let said = self.feed.absent(absence);
                        self.send(said).await?;
                    }
                    // Pages that expire faster than they can be read are avoided by asking for all at once.
                    limit = if matches!(failure, WatchFailure::Expired(_)) { None } else { paged };
                    self.pause(&failure).await;
                }
            }
        }
    }

    /// Reads all objects, page by page, and the version that they were read at.
    async fn list(&self, limit: Option<u32>) -> Result<(Listing<W>, String), WatchFailure> {
        let mut listing = KindFeed::listing();
        let mut params = ListParams { limit, ..ListParams::default() };
        loop {
            let request = Request::new(W::PATH)
                .list(&params)
                .map_err(|e| WatchFailure::of(kube::Error::BuildRequest(e)))?;
            let page: ObjectList<RawObject> = self.client.request(request).await.map_err(WatchFailure::of)?;
            for raw in &page.items {
                self.feed.list(&mut listing, raw);
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                let version = page.metadata.resource_version.filter(|version| !version.is_empty());
                return Ok((listing, version.ok_or(WatchFailure::NoVersion)?));
            }
        }
    }

    /// Follows the changes after `version` until a listing is needed.
    async fn follow(&mut self, mut version: String) -> Result<(), Closed> {
        loop {
            let ended = self.watch(&mut version).await?;
            // Also after one that ended as watches do: a minute of pauses must not show as an open watch.
            self.counters().set_watching(false);
            if let Err(failure) = ended {
                self.pause(&failure).await;
                if failure.needs_listing() {
                    return Ok(());
                }
            }
            while let Err(failure) = self.look(&version).await? {
                self.pause(&failure).await;
                // Whether the cluster is without the kind, a listing tells.
                if failure.needs_listing() || W::OPTIONAL && failure.absence().is_some() {
                    return Ok(());
                }
            }
        }
    }

    /// Asks the store, past the server's caches, for its version, which is not to be older than `version`.
    async fn look(&mut self, version: &str) -> Result<Result<(), WatchFailure>, Closed> {
        let params = ListParams { limit: Some(1), ..ListParams::default() };
        let request = match Request::new(W::PATH).list(&params) {
            Ok(request) => request,
            Err(error) => return Ok(Err(WatchFailure::of(kube::Error::BuildRequest(error)))),
        };
        let asked = Instant::now();
        let page: ObjectList<RawObject> =
            match timeout(self.settings.answer, self.client.request(request)).await {
                Ok(Ok(page)) => page,
                Ok(Err(error)) => return Ok(Err(WatchFailure::of(error))),
                Err(_) => return Ok(Err(WatchFailure::Silent(self.settings.answer))),
            };
        self.counters().heard();
        if self.outage.is_some() {
            self.answered.notify_waiters();
        }
        let at = page.metadata.resource_version.and_then(|at| at.parse::<Version>().ok());
        // What compares with nothing says nothing.
        let Some((at, read)) = at.zip(version.parse::<Version>().ok()) else { return Ok(Ok(())) };
        self.send(vec![KindFeed::<W>::store(at, asked)]).await?;
        Ok(if at < read { Err(WatchFailure::WentBack { at, read }) } else { Ok(()) })
    }

    /// One watch from `version`, which moves on with what was sent. `Ok(Ok)`: it ended as watches do.
    async fn watch(&mut self, version: &mut String) -> Result<Result<(), WatchFailure>, Closed> {
        let seconds = u32::try_from(self.settings.watch_timeout.as_secs()).unwrap_or(u32::MAX);
        let params = WatchParams { timeout: Some(seconds), ..WatchParams::default() };
        let request = match Request::new(W::PATH).watch(&params, version) {
            Ok(request) => request,
            Err(error) => return Ok(Err(WatchFailure::of(kube::Error::BuildRequest(error)))),
        };
        let stream = match self.client.request_events::<RawObject>(request).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Err(WatchFailure::of(error))),
        };
        self.counters().count_watch();
        // Accepted is not open: servers and proxies take a watch and end it at once. It counts once it lasts or brings something.
        let mut stream = pin!(stream);
        let silence = self.settings.silence;
        let mut open = false;
        loop {
            let event =
                match timeout(if open { silence } else { SHORT_WATCH.min(silence) }, stream.try_next()).await
                {
                    Ok(Ok(Some(WatchEvent::Error(status)))) => return Ok(Err(WatchFailure::told(status))),
                    Ok(Err(error)) => return Ok(Err(WatchFailure::of(error))),
                    Ok(Ok(None)) => return Ok(if open { Ok(()) } else { Err(WatchFailure::Short) }),
                    Ok(Ok(Some(event))) => Some(event),
                    Err(_) if open => return Ok(Err(WatchFailure::Silent(silence))),
                    Err(_) => None,
                };
            if !open {
                open = true;
                self.opened();
            }
            let Some(event) = event else { continue };
            self.counters().heard();
            let (said, reached) = self.take(&event);
            // The version moves only after its event was sent: if that fails, so does the watch.
            self.send(said).await?;
            match reached {
                Some(reached) => reached.clone_into(version),
                None => return Ok(Err(WatchFailure::NoVersion)),
            }
        }
    }

    /// What an event says, and the version that it reaches.
    fn take<'a>(&mut self, event: &'a WatchEvent<RawObject>) -> (Vec<SourceEvent>, Option<&'a str>) {
        match event {
            WatchEvent::Added(raw) | WatchEvent::Modified(raw) => {
                self.counters().count_event();
                (self.feed.apply(raw), raw.version())
            }
            WatchEvent::Deleted(raw) => {
                self.counters().count_event();
                (self.feed.delete(raw), raw.version())
            }
            WatchEvent::Bookmark(bookmark) => {
                let version =
                    Some(&*bookmark.metadata.resource_version).filter(|version| !version.is_empty());
                (version.map(KindFeed::<W>::bookmark).into_iter().collect(), version)
            }
            // Told apart before.
            WatchEvent::Error(_) => (Vec::new(), None),
        }
    }

    async fn send(&self, said: Vec<SourceEvent>) -> Result<(), Closed> {
        for event in said {
            self.events.send(event).await.map_err(|_| Closed)?;
        }
        Ok(())
    }

    fn opened(&mut self) {
        self.counters().set_watching(true);
        self.backoff.reset();
        self.recovered();
    }

    fn recovered(&mut self) {
        self.counters().heard();
        self.was_woken = false;
        if let Some(since) = self.outage.take() {
            self.answered.notify_waiters();
            tracing::info!(
                kind = W::KIND.name(),
                seconds = since.elapsed().as_secs(),
                "the API server answers again"
            );
        }
    }

    /// Waits before the next try. An outage is told once, its further failures only at debug level.
    async fn pause(&mut self, failure: &WatchFailure) {
        // The server's own wish counts if it is longer, never if it is shorter.
        let pause = self.next_pause(failure).max(failure.retry_after());
        let error = failure.line();
        if matches!(failure, WatchFailure::Expired(_)) {
            self.counters().count_expiration();
            tracing::debug!(kind = W::KIND.name(), error, "listing again");
        } else {
            self.counters().failed(failure.may_be_own());
            if self.outage.is_none() {
                self.outage = Some(Instant::now());
                tracing::warn!(
                    kind = W::KIND.name(),
                    error,
                    "cannot list or watch; what was read stays in force"
                );
            } else {
                tracing::debug!(kind = W::KIND.name(), error, ?pause, "still cannot list or watch");
            }
        }
        // A listing is not asked for by all kinds at once.
        let is_patient = self.was_woken || failure.needs_listing() || !failure.retry_after().is_zero();
        tokio::select! {
            () = sleep(pause) => {}
            () = self.answered.notified(), if !is_patient => self.was_woken = true,
        }
    }

    fn next_pause(&mut self, failure: &WatchFailure) -> Duration {
        if !failure.needs_listing() {
            return self.backoff.pause();
        }
        let last = self.relisted.replace(Instant::now());
        if last.is_some_and(|last| last.elapsed() > CALM) {
            self.relist.reset();
        }
        self.relist.pause()
    }

    fn counters(&self) -> &KindStatistics {
        W::statistics(&self.statistics)
    }
}
