//! Rows on their way: HTTP/2 asks for the next one when it has room, and who does not read loses the connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use futures::Stream;
use prost::Message;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::questions::Answer;
use crate::service::connection::{ConnectionHandle, HeldMessage};

/// Rows on their way.
pub(super) struct Rows<T> {
    rows: vec::IntoIter<T>,
    connection: ConnectionHandle,
    /// The row that HTTP/2 has been handed last.
    held: Option<HeldMessage>,
    /// Given back with what was written last.
    room: Option<OwnedSemaphorePermit>,
}

impl<T> Rows<T> {
    pub(super) fn new(answer: Answer<Vec<T>>, connection: ConnectionHandle) -> Self {
        let Answer { answer, room } = answer;
        Self { rows: answer.into_iter(), connection, held: None, room }
    }
}

impl<T: Message + Unpin> Stream for Rows<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Asked for the next one, HTTP/2 has taken the last.
        self.held = None;
        let Some(row) = self.rows.next() else {
            let room = self.room.take();
            // The room is given back once all that was owed before is written.
            self.connection.owe(0, room);
            return Poll::Ready(None);
        };
        self.connection.owe(row.encoded_len() as u64, None);
        self.held = Some(self.connection.hold());
        Poll::Ready(Some(Ok(row)))
    }
}
