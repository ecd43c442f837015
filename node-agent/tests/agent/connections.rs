//! Questions about connections: only a compiler that knows them is asked, and one that does not answer holds nothing up.

use std::net::IpAddr;

use flock_proto::{Answer, Forget, Outcome, Update, UpdateKind, v1};
use flock_shared::prefixes::Prefixes;
use flock_testkit::compiler::Session;
use rustix::process::Signal;

use crate::kernel_deltas::delta;
use crate::stage::Stage;
use crate::updates::revision;

/// What stands is told again, by a compiler that answers questions.
fn current(state: &str, forget: Forget) -> v1::Update {
    Update::new(revision(state), UpdateKind::Current).forgetting(forget).into()
}

async fn answer(session: &Session, state: &str, number: u64, answer: Answer) {
    session.send(current(state, Forget::Answer { number, answer })).await;
}

#[tokio::test]
async fn an_agent_that_starts_asks_what_to_look_at_and_goes_on_meanwhile() {
    let Some(mut stage) = Stage::new("questions").await else { return };
    assert_eq!(stage.drifts().await, 0);
    stage.restart(Signal::KILL, |_| {}).await;
    // As an old compiler would say it.
    assert_eq!(stage.drifts().await, 0);
    assert!(!stage.session.is_asked());

    let session = &mut stage.session;
    let none = || Forget::Lost(Prefixes::default());
    assert_eq!(session.ask(current("1", none())).await.outcome, Outcome::Unchanged);
    let first = session.question().await;
    assert_eq!((&first.revision, &*first.flows), (&revision("1"), &[][..]));
    // Nobody answers, and what matters goes on.
    session.apply(delta(2)).await;
    let second = session.question().await;
    assert_eq!((&second.revision, &*second.flows), (&revision("2"), &[][..]));
    assert!(second.number > first.number);
    // An answer to what was given up is none, nor is one with places that nobody asked about harmful.
    let lost: Prefixes = [IpAddr::from([10, 0, 0, 1])].into_iter().collect();
    answer(session, "2", first.number, Answer::Denied(vec![0, 7])).await;
    answer(session, "2", second.number, Answer::Lost(lost)).await;
    // The kernel has no such connections: there is nothing to ask about.
    session.apply(delta(3)).await;
    assert_eq!(session.ask(current("3", none())).await.outcome, Outcome::Unchanged);
    assert!(!session.is_asked());
    stage.stop().await;
}

/// An agent that was told nothing has nothing to ask, also if it is told so over and over.
#[tokio::test]
async fn where_nothing_was_lost_nothing_is_asked() {
    let Some(mut stage) = Stage::new("no-questions").await else { return };
    for _ in 0..3 {
        let ack = stage.session.ask(current("1", Forget::Lost(Prefixes::default()))).await;
        assert_eq!(ack.outcome, Outcome::Unchanged);
    }
    // It keeps a table whose repair may follow connections that nobody allowed.
    stage.edit("delete table inet flock_netpol");
    stage.repaired(1).await;
    let question = stage.session.question().await;
    assert_eq!((&question.revision, &*question.flows), (&revision("1"), &[][..]));
    stage.stop().await;
}
