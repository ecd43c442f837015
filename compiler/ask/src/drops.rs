//! `drops`: flows that nodes dropped, judged again. A node tells direction and 5-tuple, and who that was, and why it was
//! denied, is what the objects say: those of this moment, and those of the moment when it was dropped.

use std::net::IpAddr;

use flock_compiler_core::judge::{Carries, Flow, Judge, Place, Verdict};
use flock_compiler_core::object::Direction;
use flock_compiler_core::port::Protocol;
use flock_proto::v1::end::End as Asked;
use flock_proto::{DropDirection, DropKey, v1};
use flock_shared::{NamespaceName, NodeName};

use crate::{AskError, Cluster, Ends, Sight, Teller, ends, shown, why_dropped};

/// Numbers of protocols with ports (IANA, Assigned Internet Protocol Numbers).
const NUMBERS: [(Protocol, u8); 3] = [(Protocol::Tcp, 6), (Protocol::Udp, 17), (Protocol::Sctp, 132)];

/// What a flow carries by the number of its protocol.
#[must_use]
pub fn carried(protocol: u8, port: u16) -> Carries {
    let found = NUMBERS.into_iter().find(|(_, number)| *number == protocol);
    found.map_or(Carries::Other, |(protocol, _)| Carries::Port(protocol, port))
}

/// The number of the protocol of what has ports, and the port.
#[must_use]
pub fn numbered(carries: Carries) -> Option<(u8, u16)> {
    let Carries::Port(protocol, port) = carries else { return None };
    NUMBERS.into_iter().find(|(one, _)| *one == protocol).map(|(_, number)| (number, port))
}

/// Which drops are asked for.
#[derive(Debug, Default)]
pub struct DropFilter {
    namespace: Option<NamespaceName>,
    from: Option<DropEnd>,
    to: Option<DropEnd>,
}

/// An end that is asked for.
#[derive(Debug)]
enum DropEnd {
    /// Whatever address is nobody's.
    Internet,
    /// These.
    Ends(Ends),
}

impl DropFilter {
    /// What a request asks for.
    ///
    /// # Errors
    /// If it names a namespace or an end that is not there, or that the asker may not see.
    pub fn of(
        cluster: &Cluster<'_>,
        judge: &Judge<'_>,
        request: &v1::WatchDropsRequest,
        sight: &Sight,
    ) -> Result<Self, AskError> {
        let namespace = (!request.namespace.is_empty()).then(|| NamespaceName::new(&request.namespace));
        let namespace =
            namespace.transpose().map_err(|error| AskError::Bad(format!("namespace: {error}")))?;
        if let Some(unknown) = namespace.as_ref().filter(|it| !cluster.has_namespace(it)) {
            return Err(AskError::NotFound(format!("no namespace {:?}", unknown.as_str())));
        }
        if request.from.is_some() || request.to.is_some() {
            // Without ends nobody is refused: of each flow `dropped` tells only who sees one of its ends.
            sight.may_ask(judge, [request.from.as_ref(), request.to.as_ref()])?;
        }
        let find = |end: &Option<v1::End>| {
            let Some(end) = end else { return Ok(None) };
            // One address stands for the internet where something is judged; here each is itself.
            if matches!(end.end, Some(Asked::Internet(_))) {
                return Ok(Some(DropEnd::Internet));
            }
            ends(cluster, judge, Some(end), sight).map(|ends| Some(DropEnd::Ends(ends)))
        };
        Ok(Self { namespace, from: find(&request.from)?, to: find(&request.to)? })
    }

    /// Returns true if a flow between these places is asked for.
    fn wants(&self, source: &Place, destination: &Place) -> bool {
        let is_in = |place: &Place| {
            let namespace = self.namespace.as_ref();
            namespace.is_none_or(|asked| place.owners.iter().any(|pod| pod.key.namespace == *asked))
        };
        let is_at = |end: &Option<DropEnd>, place: &Place| match end {
            None => true,
            Some(DropEnd::Internet) => place.owners.is_empty() && place.host.is_none(),
            Some(DropEnd::Ends(ends)) => ends.at.iter().any(|at| is_one(&at.place, place)),
        };
        (is_in(source) || is_in(destination)) && is_at(&self.from, source) && is_at(&self.to, destination)
    }
}

/// Returns true if a place is one that was asked about: the same address, pod or node.
fn is_one(asked: &Place, place: &Place) -> bool {
    let is_pod = asked.owners.iter().any(|pod| place.is_of(&pod.key));
    let is_host = asked.host.is_some() && asked.host == place.host;
    is_pod || is_host || (asked.address == place.address && asked.address.is_some())
}

/// What is to be told of a dropped flow.
#[derive(Debug)]
pub enum Dropped {
    /// This; without times and numbers.
    Told(Box<v1::DropRow>),
    /// Nothing: it is not asked for, or the asker sees neither end.
    Untold,
    /// None of the objects deny it: those of another moment may.
    Unexplained,
}

/// Judges a flow that a node dropped. `is_last` says that there are no other objects to judge it with.
///
/// A node tells what it likes: a pod that is not on it has dropped nothing there.
#[must_use]
pub fn dropped(
    judge: &Judge<'_>,
    (node, key): (&NodeName, &DropKey),
    filter: &DropFilter,
    sight: &Sight,
    is_last: bool,
) -> Dropped {
    let direction = match key.direction {
        DropDirection::Ingress => Direction::Ingress,
        DropDirection::Egress => Direction::Egress,
    };
    let carries = carried(key.protocol, key.port);
    let flow =
        Flow { source: judge.place_of(key.source), destination: judge.place_of(key.destination), carries };
    let own = match direction {
        Direction::Egress => &flow.source,
        Direction::Ingress => &flow.destination,
    };
    let judgement = judge.judge(&flow);
    let verdict = judgement.of(direction);
    let is_here = match verdict {
        // Nobody owns the address, so the node that closes it is where it is.
        Verdict::Unready(of) => of == node,
        _ => own.owners.iter().any(|pod| pod.node.as_ref() == Some(node)),
    };
    if !(is_here && !verdict.passes() || is_last) {
        return Dropped::Unexplained;
    }
    let sees = |place: &Place| place.owners.iter().any(|pod| sight.sees(&pod.key.namespace));
    // What a node says of pods that are not on it may be made up: it is told only to who sees everything.
    let is_seen = sight.sees_everything() || is_here && (sees(&flow.source) || sees(&flow.destination));
    if !is_seen || !filter.wants(&flow.source, &flow.destination) {
        return Dropped::Untold;
    }
    let mut row = v1::DropRow {
        from: Some(shown(&flow.source, None, sight)),
        to: Some(shown(&flow.destination, None, sight)),
        port: Some(port(carries)),
        direction: crate::direction(direction).into(),
        ..v1::DropRow::default()
    };
    // To who sees the other end alone, the node would tell where a pod of somebody else runs.
    if sight.sees_everything() || sees(own) {
        row.node = node.to_string();
    }
    row.why = if !is_here {
        let address = own.address.map(|address: IpAddr| address.to_string()).unwrap_or_default();
        format!("{direction}: no pod on this node is known to have had {address}")
    } else {
        let mut told = Teller::new(judge, sight).direction(direction, &flow, verdict);
        let why = match verdict.passes() {
            true => format!("{direction}: it would pass now: {}", told.words),
            false => why_dropped(direction, &told),
        };
        // Thousands of rows have room for what came nearest alone.
        for policy in &mut told.isolated_by {
            policy.rules.retain(|rule| rule.nearest);
        }
        row.verdict = Some(told);
        why
    };
    Dropped::Told(Box::new(row))
}

fn port(carries: Carries) -> v1::Port {
    match carries {
        Carries::Port(protocol, number) => {
            v1::Port { protocol: protocol.as_str().to_owned(), number: number.into() }
        }
        Carries::Other => v1::Port { protocol: "other".to_owned(), number: 0 },
    }
}
