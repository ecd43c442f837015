use std::net::IpAddr;

use flock_shared::PodKey;

use super::*;

fn id(name: &str) -> SandboxId {
    SandboxId::new(name).unwrap()
}

/// A sandbox whose link has its name.
fn sandbox(name: &str, address: u8) -> Sandbox {
    Sandbox {
        id: id(name),
        pod: PodKey::new("shop", "web-0").unwrap(),
        uid: None,
        addresses: vec![IpAddr::from([10, 0, 0, address])],
        interface: Some(name.to_owned()),
    }
}

fn network(name: &str) -> NetworkName {
    NetworkName::new(name).unwrap()
}

fn added(sandboxes: &mut Sandboxes, sandbox: Sandbox) -> PendingCall {
    added_to(sandboxes, sandbox, Some(network("pods")))
}

fn added_to(sandboxes: &mut Sandboxes, sandbox: Sandbox, network: Option<NetworkName>) -> PendingCall {
    let (pending, keeping) = sandboxes.add(sandbox, network);
    assert_eq!(keeping, Keeping::Kept);
    pending
}

fn attached(sandboxes: &mut Sandboxes, name: &str, address: u8) {
    let pending = added(sandboxes, sandbox(name, address));
    sandboxes.settle(&pending, CallResult::Done);
}

fn names(sandboxes: &Sandboxes) -> Vec<String> {
    sandboxes.present().iter().map(|sandbox| sandbox.id.to_string()).collect()
}

/// What is owed, as `+id` and `-id`; all of it fails.
fn owed(sandboxes: &mut Sandboxes) -> Vec<String> {
    let pending = sandboxes.pending(usize::MAX);
    pending.iter().for_each(|pending| sandboxes.settle(pending, CallResult::Failed));
    let text = |pending: &PendingCall| match pending {
        PendingCall::Attach(sandbox, _) => format!("+{}", sandbox.id),
        PendingCall::Detach(id, _) => format!("-{id}"),
    };
    pending.iter().map(text).collect()
}

fn devices(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn what_was_added_and_not_deleted_is_there() {
    let mut sandboxes = Sandboxes::default();
    attached(&mut sandboxes, "a", 1);
    attached(&mut sandboxes, "b", 2);
    let pending = sandboxes.delete(&id("a"));
    assert_eq!((names(&sandboxes), sandboxes.size()), (vec!["b".to_owned()], (1, 1)));
    assert!(!sandboxes.has_pending() && sandboxes.has_pending_detach(&[id("a")]), "somebody is telling it");
    sandboxes.settle(&pending, CallResult::Done);
    assert_eq!((owed(&mut sandboxes), sandboxes.size()), (vec![], (1, 0)));
}

#[test]
fn of_two_adds_of_one_sandbox_the_later_counts() {
    let mut sandboxes = Sandboxes::default();
    let first = added(&mut sandboxes, sandbox("a", 1));
    let second = added(&mut sandboxes, sandbox("a", 2));
    sandboxes.settle(&second, CallResult::Done);
    assert_eq!(sandboxes.present(), [sandbox("a", 2)]);
    // The compiler may have heard of the first one last.
    sandboxes.settle(&first, CallResult::Done);
    assert_eq!((owed(&mut sandboxes), sandboxes.present()), (vec!["+a".to_owned()], vec![sandbox("a", 2)]));
}

#[test]
fn a_call_that_ends_while_the_next_is_under_way_leaves_a_doubt() {
    let end_first: [fn(&mut Sandboxes) -> PendingCall; 2] =
        [|sandboxes| added(sandboxes, sandbox("a", 1)), |sandboxes| sandboxes.delete(&id("a"))];
    for begin in end_first {
        let mut sandboxes = Sandboxes::default();
        let first = begin(&mut sandboxes);
        let second = added(&mut sandboxes, sandbox("a", 2));
        sandboxes.settle(&first, CallResult::Done);
        assert!(!sandboxes.has_pending(), "somebody is telling it");
        sandboxes.settle(&second, CallResult::Done);
        let again = sandboxes.pending(9);
        assert!(
            matches!(&again[..], [PendingCall::Attach(told, _)] if *told == sandbox("a", 2)),
            "{again:?}"
        );
        sandboxes.settle(&again[0], CallResult::Done);
        assert_eq!(owed(&mut sandboxes), [""; 0]);
    }
}

#[test]
fn an_add_that_ends_after_its_delete_is_undone_again() {
    for result in [CallResult::Done, CallResult::Failed] {
        let mut sandboxes = Sandboxes::default();
        let add = added(&mut sandboxes, sandbox("a", 1));
        let delete = sandboxes.delete(&id("a"));
        sandboxes.settle(&delete, CallResult::Done);
        assert_eq!(owed(&mut sandboxes), [""; 0]);
        sandboxes.settle(&add, result);
        assert_eq!((owed(&mut sandboxes), names(&sandboxes)), (vec!["-a".to_owned()], vec![]), "{result:?}");
    }
}

#[test]
fn a_delete_that_ends_after_the_next_add_is_undone_again() {
    let mut sandboxes = Sandboxes::default();
    attached(&mut sandboxes, "a", 1);
    let delete = sandboxes.delete(&id("a"));
    attached(&mut sandboxes, "a", 1);
    assert_eq!(owed(&mut sandboxes), [""; 0]);
    sandboxes.settle(&delete, CallResult::Done);
    assert_eq!((owed(&mut sandboxes), sandboxes.size()), (vec!["+a".to_owned()], (1, 0)));
}

#[test]
fn to_delete_twice_or_what_nobody_knows_is_told_each_time() {
    let mut sandboxes = Sandboxes::default();
    for _ in 0..2 {
        let pending = sandboxes.delete(&id("a"));
        sandboxes.settle(&pending, CallResult::Failed);
        assert_eq!((sandboxes.size(), owed(&mut sandboxes)), ((0, 1), vec!["-a".to_owned()]));
    }
    let pending = sandboxes.delete(&id("a"));
    // Refused is as good as done: there is none.
    sandboxes.settle(&pending, CallResult::Refused);
    assert_eq!((sandboxes.size(), owed(&mut sandboxes)), ((0, 0), vec![]));
}

#[test]
fn an_address_that_is_given_anew_ends_the_sandbox_that_had_it() {
    let mut sandboxes = Sandboxes::default();
    attached(&mut sandboxes, "z", 1);
    let add = added(&mut sandboxes, sandbox("a", 1));
    assert_eq!(
        (names(&sandboxes), sandboxes.size().0),
        (vec!["a".to_owned()], 2),
        "only one of them is told of"
    );
    sandboxes.settle(&add, CallResult::Done);
    assert_eq!((owed(&mut sandboxes), names(&sandboxes)), (vec!["-z".to_owned()], vec!["a".to_owned()]));

    // What is refused has taken no address from anybody.
    let add = added(&mut sandboxes, sandbox("b", 1));
    sandboxes.settle(&add, CallResult::Refused);
    assert_eq!((owed(&mut sandboxes), names(&sandboxes)), (vec!["-z".to_owned()], vec!["a".to_owned()]));
}

#[test]
fn what_failed_is_owed_and_what_was_not_tried_comes_first() {
    let mut sandboxes = Sandboxes::default();
    let add = added(&mut sandboxes, sandbox("a", 1));
    sandboxes.settle(&add, CallResult::Failed);
    assert!(sandboxes.has_pending());
    let add = added(&mut sandboxes, sandbox("b", 2));
    sandboxes.settle(&add, CallResult::Failed);
    let first = sandboxes.pending(1);
    assert_eq!(first, [PendingCall::Attach(sandbox("a", 1), Number(1))]);
    sandboxes.settle(&first[0], CallResult::Failed);
    let second = sandboxes.pending(1);
    sandboxes.settle(&second[0], CallResult::Done);
    assert_eq!(owed(&mut sandboxes), ["+a"]);
    let last = sandboxes.pending(9);
    assert!(!sandboxes.has_pending(), "somebody is telling it");
    sandboxes.settle(&last[0], CallResult::Refused);
    assert_eq!((names(&sandboxes), owed(&mut sandboxes)), (vec!["b".to_owned()], vec![]));
}

#[test]
fn garbage_is_all_but_what_is_named_and_what_is_being_added() {
    let mut sandboxes = Sandboxes::default();
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        attached(&mut sandboxes, name, u8::try_from(number).unwrap());
    }
    let add = added(&mut sandboxes, sandbox("d", 9));
    assert_eq!(sandboxes.keep_only(&network("pods"), &[id("b"), id("x")]), [id("a"), id("c")]);
    assert!(sandboxes.has_pending_detach(&[id("c"), id("b")]) && !sandboxes.has_pending_detach(&[id("b")]));
    sandboxes.settle(&add, CallResult::Done);
    assert_eq!(
        (names(&sandboxes), owed(&mut sandboxes)),
        (vec!["b".to_owned(), "d".to_owned()], vec!["-a".to_owned(), "-c".to_owned()])
    );
}

#[test]
fn garbage_of_a_network_is_of_no_other() {
    let mut sandboxes = Sandboxes::default();
    for (number, name, on) in [(1, "a", Some("pods")), (2, "a.net1", Some("storage")), (3, "old", None)] {
        let pending = added_to(&mut sandboxes, sandbox(name, number), on.map(network));
        sandboxes.settle(&pending, CallResult::Done);
    }
    // As the next agent finds it.
    let mut sandboxes = Sandboxes::of(sandboxes.kept(), true);
    assert_eq!(sandboxes.keep_only(&network("storage"), &[id("a.net1")]), []);
    assert_eq!(sandboxes.keep_only(&network("another"), &[]), []);
    assert_eq!(sandboxes.keep_only(&network("pods"), &[]), [id("a")]);
    assert_eq!(sandboxes.keep_only(&network("storage"), &[]), [id("a.net1")]);
    // Which network it was of was not kept: its link tells.
    assert_eq!(names(&sandboxes), ["old"]);
    sandboxes.look(&devices(&["old"]));
    assert_eq!([sandboxes.look(&devices(&[])), sandboxes.look(&devices(&[]))], [vec![], vec![id("old")]]);
}

#[test]
fn a_link_that_is_missed_twice_ends_its_sandbox_where_others_are_seen() {
    let mut sandboxes = Sandboxes::default();
    attached(&mut sandboxes, "a", 1);
    attached(&mut sandboxes, "b", 2);
    let pending = added(&mut sandboxes, Sandbox { interface: None, ..sandbox("c", 3) });
    sandboxes.settle(&pending, CallResult::Done);
    for _ in 0..3 {
        assert_eq!(sandboxes.look(&devices(&["lo"])), [], "this is another place");
    }
    assert_eq!(sandboxes.look(&devices(&["lo", "a"])), []);
    assert_eq!(sandboxes.look(&devices(&["lo", "a", "b"])), [], "it came back");
    assert_eq!(sandboxes.look(&devices(&["lo", "a"])), []);
    assert_eq!(sandboxes.look(&devices(&["lo", "a"])), [id("b")]);
    let add = added(&mut sandboxes, sandbox("d", 4));
    for _ in 0..3 {
        assert_eq!(sandboxes.look(&devices(&["lo", "a"])), [], "CNI is at it");
    }
    sandboxes.settle(&add, CallResult::Done);
    assert_eq!(sandboxes.look(&devices(&["lo"])), []);
    assert_eq!(sandboxes.look(&devices(&["lo"])), [id("a"), id("d")]);
    assert_eq!(
        (names(&sandboxes), owed(&mut sandboxes)),
        (vec!["c".to_owned()], vec!["-b".to_owned(), "-a".to_owned(), "-d".to_owned()])
    );
}

#[test]
fn another_agent_goes_on_and_another_start_of_the_node_begins_anew() {
    let mut sandboxes = Sandboxes::default();
    attached(&mut sandboxes, "a", 1);
    let _ = added(&mut sandboxes, sandbox("b", 2));
    let _ = sandboxes.delete(&id("c"));
    let kept = sandboxes.kept();
    let text = serde_json::to_string(&kept).unwrap();
    assert_eq!(serde_json::from_str::<KeptSandboxes>(&text).unwrap(), kept);
    let mut next = Sandboxes::of(kept.clone(), true);
    assert_eq!(next.kept(), kept);
    assert_eq!(
        (names(&next), owed(&mut next)),
        (vec!["a".to_owned(), "b".to_owned()], vec!["-c".to_owned(), "+b".to_owned()])
    );
    let mut anew = Sandboxes::of(kept, false);
    assert_eq!(
        (names(&anew), owed(&mut anew)),
        (vec![], vec!["-c".to_owned(), "-a".to_owned(), "-b".to_owned()])
    );
}

#[test]
fn it_does_not_grow_for_ever() {
    let mut sandboxes = Sandboxes::default();
    for number in 0..SANDBOXES_LIMIT {
        attached(&mut sandboxes, &number.to_string(), 1 + u8::try_from(number / 256).unwrap());
        // Each takes the address of the one before, but for two.
        assert!(sandboxes.size().0 <= 2);
    }
    for number in 0..2 * GONE_LIMIT {
        let pending = sandboxes.delete(&id(&format!("gone-{number}")));
        sandboxes.settle(&pending, CallResult::Failed);
    }
    assert_eq!(sandboxes.size().1, GONE_LIMIT);
    let mut full = Sandboxes::default();
    for number in 0..SANDBOXES_LIMIT {
        let sandbox = Sandbox { addresses: vec![], ..sandbox(&number.to_string(), 0) };
        let pending = added(&mut full, sandbox);
        full.settle(&pending, CallResult::Done);
    }
    assert_eq!(full.add(sandbox("more", 1), None).1, Keeping::NoRoom);
    assert_eq!(full.size(), (SANDBOXES_LIMIT, 0));
}
