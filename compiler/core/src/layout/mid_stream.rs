//! Mid-stream packets: what connection tracking calls new, and is no beginning of a connection, is none of an isolated
//! pod.
//!
//! Connection tracking picks up a connection in mid-stream, in the direction of the packet that it happens to meet. So a
//! client whose rule was revoked could end its entry by a reset that only the node sees: the server's next segment would
//! begin a connection from the server, of which the client's are the replies. What is dropped or answered with a reset
//! here makes no entry. An allowed connection whose entry is gone (conntrack was flushed, or it was idle for too long) is
//! reset at the end that speaks first, instead of hanging.
//!
//! What connection tracking calls invalid (a RST or FIN, or SYN and ACK, of nothing that it knows; with
//! `nf_conntrack_tcp_loose` 0 any segment but a SYN) makes no entry, so nothing can be its reply: it is judged by its
//! addresses, each time. To reset it would cut allowed connections, whose segments may be outside of the window that
//! connection tracking knows. A RST outside of it ends no entry, also with `nf_conntrack_tcp_be_liberal`. A SYN of the
//! server, for a simultaneous opening, is a beginning that its own egress has to allow.
//!
//! Of the same kind is SCTP: a heartbeat, or any chunk but INIT, begins an association there. UDP has no middle.

use smallvec::smallvec;

use super::{Layout, when};
use crate::nft::{ChainName, Field, Match, Objects, Rule, SetName, Statement, Verdict};
use crate::port::Protocol;

/// The rules of the first base chain that send such packets aside, and the chains that judge them: as any others
/// (`judging`) where neither end is isolated.
///
/// A packet that is no such one pays for two comparisons of its state, and for nothing else.
pub(super) fn rules<O: Objects>(layout: &mut Layout<O>, judging: &[Rule]) -> [Rule; 2] {
    let reset = Rule { matches: smallvec![Match::Protocol(Protocol::Tcp)], statement: Statement::Reset };
    rules_with(layout, [reset], judging)
}

/// The same, where isolated pods' packets are dropped unless one of these rules does something else.
pub(super) fn rules_with<O: Objects>(
    layout: &mut Layout<O>,
    answers: impl IntoIterator<Item = Rule>,
    judging: &[Rule],
) -> [Rule; 2] {
    let mut rules = Vec::new();
    for family in layout.families() {
        for end in [Field::Source(family), Field::Destination(family)] {
            let isolated = Match::In(smallvec![end], SetName::Isolated(family));
            rules.push(when([isolated], Verdict::Goto(ChainName::Reset)));
        }
    }
    // By `goto` and with the dispatch repeated: after a `jump`, a packet that meets a commit would come back.
    rules.extend(judging.iter().cloned());
    layout.add_chain(ChainName::MidStream, None, rules);
    let drop = Rule { matches: smallvec![], statement: Statement::Counted(Verdict::Drop) };
    let aside = answers.into_iter().chain([drop]).collect();
    layout.add_chain(ChainName::Reset, None, aside);
    [Match::MidStreamTcp, Match::MidStreamSctp]
        .map(|condition| when([condition], Verdict::Goto(ChainName::MidStream)))
}
