//! Objects that change all the time: each event is taken back by the next, so that the cluster stays what it is.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context as _;
use flock_compiler::source::SourceEvent;
use flock_compiler_core::Change;
use flock_shapes::{EventKind, Events, Reach};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// Events in a second.
pub(crate) const RATE: u32 = 30;

/// Events of some kinds in turn, each of which few nodes have to do with.
pub(crate) struct Churn<'a> {
    events: &'a Events,
    kinds: &'static [EventKind],
    number: usize,
    undo: Option<Change>,
}

impl<'a> Churn<'a> {
    /// Pods that come and go: the tables of the DNS servers' nodes change with each.
    pub(crate) const fn pods(events: &'a Events) -> Self {
        Self { events, kinds: &[EventKind::PodAdded], number: 0, undo: None }
    }

    /// Everything that happens.
    pub(crate) const fn everything(events: &'a Events) -> Self {
        Self { events, kinds: &EventKind::ALL, number: 0, undo: None }
    }

    /// The next one.
    pub(crate) fn event(&mut self) -> anyhow::Result<Change> {
        if let Some(undo) = self.undo.take() {
            return Ok(undo);
        }
        let kind = *self.kinds.get(self.number % self.kinds.len()).context("there are kinds")?;
        let event = self.events.event(kind, Reach::Few, self.number).context("S3 has such objects")?;
        self.number += 1;
        self.undo = Some(event.undo);
        Ok(event.change)
    }

    /// So many events in a second, for as long as it is polled.
    pub(crate) async fn run(&mut self, events: &mpsc::Sender<SourceEvent>) -> anyhow::Result<Infallible> {
        let mut ticks = interval(Duration::from_secs(1) / RATE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            ticks.tick().await;
            events.send(self.event()?.into()).await?;
        }
    }

    /// Takes back what is still to be taken back.
    pub(crate) async fn settle(&mut self, events: &mpsc::Sender<SourceEvent>) -> anyhow::Result<()> {
        match self.undo.take() {
            Some(undo) => Ok(events.send(undo.into()).await?),
            None => Ok(()),
        }
    }
}
