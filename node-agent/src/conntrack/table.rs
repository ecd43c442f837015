//! Asking the kernel for connections that are tracked where nft works, and removing some.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use flock_proto::Flow;
use flock_shared::prefixes::Prefixes;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::task::yield_now;

use super::message::{self, ConntrackEntry, CtMessage, Which};
use crate::child::Program;
use crate::handover::{self, HandOverError, Peer};

/// What the kernel writes at once at most.
const DATAGRAM: usize = 32 << 10;
/// Room for the refusals of a page of removals, should all be gone already, beside the answer to the question.
const REFUSALS: usize = 2 << 20;
/// More addresses no node has, even where each service is one (IPVS).
const OWN_LIMIT: usize = 1 << 16;

/// Why connections could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// There is no socket where nft works.
    #[error(transparent)]
    HandOver(#[from] HandOverError),
    /// The system refuses something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The kernel refuses the question, or breaks off.
    #[error("the kernel does not tell: error {0}")]
    Refused(i32),
    /// The node has too many addresses.
    #[error("the node has more than {OWN_LIMIT} addresses")]
    TooManyAddresses,
}

impl From<Errno> for TableError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// A socket, with what is waited for.
#[derive(Debug)]
struct Question {
    socket: OwnedFd,
    sequence: u32,
    buffer: Box<[u8]>,
}

impl Question {
    fn new(socket: OwnedFd) -> Self {
        Self { socket, sequence: 0, buffer: vec![0; DATAGRAM].into() }
    }

    fn next(&mut self) -> u32 {
        self.sequence += 1;
        self.sequence
    }

    fn ask(&self, message: &[u8]) -> Result<(), TableError> {
        send(&self.socket, message, SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// Hands the next piece of the answer on. Returns true if there is more. The kernel writes a piece whenever one is read, so
    /// there is nothing to wait for.
    async fn piece(&mut self, mut hear: impl FnMut(CtMessage)) -> Result<bool, TableError> {
        let (length, _) = loop {
            match recv(&self.socket, &mut *self.buffer, RecvFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                received => break received?,
            }
        };
        let mut is_more = true;
        for said in message::said(self.buffer.get(..length).unwrap_or_default(), self.sequence) {
            match said {
                CtMessage::Done => is_more = false,
                CtMessage::Refused(error) => return Err(TableError::Refused(error)),
                said => hear(said),
            }
        }
        // A piece takes some 0.2 ms; the agent has other things to do.
        yield_now().await;
        Ok(is_more)
    }
}

/// One look at the connections of some addresses.
#[derive(Debug)]
pub struct Look {
    table: Question,
    own: HashSet<IpAddr>,
    of: Prefixes,
    /// What is still to be asked for, and whether an answer is under way.
    rest: Vec<Which>,
    is_open: bool,
}

impl Look {
    /// Begins to look where `nft` works.
    ///
    /// # Errors
    /// When the kernel cannot be asked there.
    pub async fn begin(nft: &Program, of: Prefixes) -> Result<Self, TableError> {
        let mut route = Question::new(handover::open(nft, Peer::Route).await?);
        let own = own_addresses(&mut route).await?;
        drop(route);
        let socket = handover::open(nft, Peer::Netfilter).await?;
        // Where it cannot be had, a look that meets too many refusals fails and is repeated.
        let _ = set_socket_recv_buffer_size_force(&socket, REFUSALS);
        let table = Question::new(socket);
        // The kernel walks its whole table each time, and compares faster than it tells: two walks for one address take
        // two fifths of telling all, those for two addresses nearly as long.
        let rest = match of.sole() {
            Some(address) => vec![Which::From(address), Which::To(address)],
            None => vec![Which::All],
        };
        Ok(Self { table, own, of, rest, is_open: false })
    }

    /// The next entries, at least so many unless there are no more, and at most a piece more; none: all were seen.
    ///
    /// # Errors
    /// When the kernel breaks off.
    pub async fn next(&mut self, enough: usize) -> Result<Vec<ConntrackEntry>, TableError> {
        let mut found = Vec::new();
        while found.len() < enough {
            if !self.is_open {
                let Some(which) = self.rest.pop() else { break };
                let sequence = self.table.next();
                self.table.ask(&message::entries(which, sequence))?;
                self.is_open = true;
            }
            let (own, of) = (&self.own, &self.of);
            self.is_open = self
                .table
                .piece(|said| {
                    if let CtMessage::Entry(entry) = said
                        && concerns(of, own, &entry.flow)
                    {
                        found.push(entry);
                    }
                })
                .await?;
        }
        Ok(found)
    }

    /// Removes an entry; it may be gone already.
    ///
    /// # Errors
    /// When the kernel cannot be told.
    pub fn remove(&self, entry: &ConntrackEntry) -> Result<(), TableError> {
        // Refusals are told under a number of which nobody waits for an answer.
        self.table.ask(&message::removal(entry, u32::MAX))
    }
}

/// Returns true if a connection is of these addresses. What begins or ends at the node itself never meets the table's rules, and
/// nobody else may cut it.
fn concerns(of: &Prefixes, own: &HashSet<IpAddr>, flow: &Flow) -> bool {
    let ends = [flow.source, flow.destination];
    ends.iter().any(|end| of.contains(*end)) && !ends.iter().any(|end| end.is_loopback() || own.contains(end))
}

async fn own_addresses(route: &mut Question) -> Result<HashSet<IpAddr>, TableError> {
    let mut own = HashSet::new();
    let sequence = route.next();
    route.ask(&message::own_addresses(sequence))?;
    let hear = |own: &mut HashSet<IpAddr>, said| {
        if let CtMessage::Own(address) = said {
            own.insert(address);
        }
    };
    while route.piece(|said| hear(&mut own, said)).await? {
        if own.len() > OWN_LIMIT {
            return Err(TableError::TooManyAddresses);
        }
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use flock_proto::Translated;
    use flock_shared::prefixes::Prefix;

    use super::*;

    #[test]
    fn what_begins_or_ends_at_the_node_is_nobodys_to_cut() {
        let [web, api, node] = [[10, 1, 0, 2], [10, 1, 0, 3], [10, 1, 0, 1]].map(IpAddr::from);
        let own = HashSet::from([node]);
        // As wide as a compiler may say it.
        let all: Prefixes =
            [IpAddr::from([0; 4])].map(|any| Prefix::new(any, 0).unwrap()).into_iter().collect();
        let one: Prefixes = [web].into_iter().collect();
        let translated = Translated::default();
        let flow = |source, destination| Flow { source, destination, protocol: 6, port: 80, translated };
        assert!(concerns(&one, &own, &flow(web, api)) && concerns(&one, &own, &flow(api, web)));
        assert!(concerns(&all, &own, &flow(web, api)) && !concerns(&one, &own, &flow(api, api)));
        for other in [node, [127, 0, 0, 1].into()] {
            assert!(!concerns(&all, &own, &flow(web, other)) && !concerns(&all, &own, &flow(other, web)));
        }
    }
}
