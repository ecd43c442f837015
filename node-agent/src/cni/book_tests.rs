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

fn added(book: &mut Book, sandbox: Sandbox) -> Debt {
    added_to(book, sandbox, Some(network("pods")))
}

fn added_to(book: &mut Book, sandbox: Sandbox, network: Option<NetworkName>) -> Debt {
    let (debt, keeping) = book.add(sandbox, network);
    assert_eq!(keeping, Keeping::Kept);
    debt
}

fn attached(book: &mut Book, name: &str, address: u8) {
    let debt = added(book, sandbox(name, address));
    book.settle(&debt, Settled::Done);
}

fn names(book: &Book) -> Vec<String> {
    book.present().iter().map(|sandbox| sandbox.id.to_string()).collect()
}

/// What is owed, as `+id` and `-id`; all of it fails.
fn owed(book: &mut Book) -> Vec<String> {
    let debts = book.debts(usize::MAX);
    debts.iter().for_each(|debt| book.settle(debt, Settled::Failed));
    let text = |debt: &Debt| match debt {
        Debt::Attach(sandbox, _) => format!("+{}", sandbox.id),
        Debt::Detach(id, _) => format!("-{id}"),
    };
    debts.iter().map(text).collect()
}

fn devices(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn what_was_added_and_not_deleted_is_there() {
    let mut book = Book::default();
    attached(&mut book, "a", 1);
    attached(&mut book, "b", 2);
    let debt = book.delete(&id("a"));
    assert_eq!((names(&book), book.size()), (vec!["b".to_owned()], (1, 1)));
    assert!(!book.is_in_debt() && book.owes_any(&[id("a")]), "somebody is telling it");
    book.settle(&debt, Settled::Done);
    assert_eq!((owed(&mut book), book.size()), (vec![], (1, 0)));
}

#[test]
fn of_two_adds_of_one_sandbox_the_later_counts() {
    let mut book = Book::default();
    let first = added(&mut book, sandbox("a", 1));
    let second = added(&mut book, sandbox("a", 2));
    book.settle(&second, Settled::Done);
    assert_eq!(book.present(), [sandbox("a", 2)]);
    // The compiler may have heard of the first one last.
    book.settle(&first, Settled::Done);
    assert_eq!((owed(&mut book), book.present()), (vec!["+a".to_owned()], vec![sandbox("a", 2)]));
}

#[test]
fn a_call_that_ends_while_the_next_is_under_way_leaves_a_doubt() {
    let end_first: [fn(&mut Book) -> Debt; 2] =
        [|book| added(book, sandbox("a", 1)), |book| book.delete(&id("a"))];
    for begin in end_first {
        let mut book = Book::default();
        let first = begin(&mut book);
        let second = added(&mut book, sandbox("a", 2));
        book.settle(&first, Settled::Done);
        assert!(!book.is_in_debt(), "somebody is telling it");
        book.settle(&second, Settled::Done);
        let again = book.debts(9);
        assert!(matches!(&again[..], [Debt::Attach(told, _)] if *told == sandbox("a", 2)), "{again:?}");
        book.settle(&again[0], Settled::Done);
        assert_eq!(owed(&mut book), [""; 0]);
    }
}

#[test]
fn an_add_that_ends_after_its_delete_is_undone_again() {
    for settled in [Settled::Done, Settled::Failed] {
        let mut book = Book::default();
        let add = added(&mut book, sandbox("a", 1));
        let delete = book.delete(&id("a"));
        book.settle(&delete, Settled::Done);
        assert_eq!(owed(&mut book), [""; 0]);
        book.settle(&add, settled);
        assert_eq!((owed(&mut book), names(&book)), (vec!["-a".to_owned()], vec![]), "{settled:?}");
    }
}

#[test]
fn a_delete_that_ends_after_the_next_add_is_undone_again() {
    let mut book = Book::default();
    attached(&mut book, "a", 1);
    let delete = book.delete(&id("a"));
    attached(&mut book, "a", 1);
    assert_eq!(owed(&mut book), [""; 0]);
    book.settle(&delete, Settled::Done);
    assert_eq!((owed(&mut book), book.size()), (vec!["+a".to_owned()], (1, 0)));
}

#[test]
fn to_delete_twice_or_what_nobody_knows_is_told_each_time() {
    let mut book = Book::default();
    for _ in 0..2 {
        let debt = book.delete(&id("a"));
        book.settle(&debt, Settled::Failed);
        assert_eq!((book.size(), owed(&mut book)), ((0, 1), vec!["-a".to_owned()]));
    }
    let debt = book.delete(&id("a"));
    // Refused is as good as done: there is none.
    book.settle(&debt, Settled::Refused);
    assert_eq!((book.size(), owed(&mut book)), ((0, 0), vec![]));
}

#[test]
fn an_address_that_is_given_anew_ends_the_sandbox_that_had_it() {
    let mut book = Book::default();
    attached(&mut book, "z", 1);
    let add = added(&mut book, sandbox("a", 1));
    assert_eq!((names(&book), book.size().0), (vec!["a".to_owned()], 2), "only one of them is told of");
    book.settle(&add, Settled::Done);
    assert_eq!((owed(&mut book), names(&book)), (vec!["-z".to_owned()], vec!["a".to_owned()]));

    // What is refused has taken no address from anybody.
    let add = added(&mut book, sandbox("b", 1));
    book.settle(&add, Settled::Refused);
    assert_eq!((owed(&mut book), names(&book)), (vec!["-z".to_owned()], vec!["a".to_owned()]));
}

#[test]
fn what_failed_is_owed_and_what_was_not_tried_comes_first() {
    let mut book = Book::default();
    let add = added(&mut book, sandbox("a", 1));
    book.settle(&add, Settled::Failed);
    assert!(book.is_in_debt());
    let add = added(&mut book, sandbox("b", 2));
    book.settle(&add, Settled::Failed);
    let first = book.debts(1);
    assert_eq!(first, [Debt::Attach(sandbox("a", 1), Number(1))]);
    book.settle(&first[0], Settled::Failed);
    let second = book.debts(1);
    book.settle(&second[0], Settled::Done);
    assert_eq!(owed(&mut book), ["+a"]);
    let last = book.debts(9);
    assert!(!book.is_in_debt(), "somebody is telling it");
    book.settle(&last[0], Settled::Refused);
    assert_eq!((names(&book), owed(&mut book)), (vec!["b".to_owned()], vec![]));
}

#[test]
fn garbage_is_all_but_what_is_named_and_what_is_being_added() {
    let mut book = Book::default();
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        attached(&mut book, name, u8::try_from(number).unwrap());
    }
    let add = added(&mut book, sandbox("d", 9));
    assert_eq!(book.keep_only(&network("pods"), &[id("b"), id("x")]), [id("a"), id("c")]);
    assert!(book.owes_any(&[id("c"), id("b")]) && !book.owes_any(&[id("b")]));
    book.settle(&add, Settled::Done);
    assert_eq!(
        (names(&book), owed(&mut book)),
        (vec!["b".to_owned(), "d".to_owned()], vec!["-a".to_owned(), "-c".to_owned()])
    );
}

#[test]
fn garbage_of_a_network_is_of_no_other() {
    let mut book = Book::default();
    for (number, name, on) in [(1, "a", Some("pods")), (2, "a.net1", Some("storage")), (3, "old", None)] {
        let debt = added_to(&mut book, sandbox(name, number), on.map(network));
        book.settle(&debt, Settled::Done);
    }
    // As the next agent finds it.
    let mut book = Book::of(book.kept(), true);
    assert_eq!(book.keep_only(&network("storage"), &[id("a.net1")]), []);
    assert_eq!(book.keep_only(&network("another"), &[]), []);
    assert_eq!(book.keep_only(&network("pods"), &[]), [id("a")]);
    assert_eq!(book.keep_only(&network("storage"), &[]), [id("a.net1")]);
    // Which network it was of was not kept: its link tells.
    assert_eq!(names(&book), ["old"]);
    book.look(&devices(&["old"]));
    assert_eq!([book.look(&devices(&[])), book.look(&devices(&[]))], [vec![], vec![id("old")]]);
}

#[test]
fn a_link_that_is_missed_twice_ends_its_sandbox_where_others_are_seen() {
    let mut book = Book::default();
    attached(&mut book, "a", 1);
    attached(&mut book, "b", 2);
    let debt = added(&mut book, Sandbox { interface: None, ..sandbox("c", 3) });
    book.settle(&debt, Settled::Done);
    for _ in 0..3 {
        assert_eq!(book.look(&devices(&["lo"])), [], "this is another place");
    }
    assert_eq!(book.look(&devices(&["lo", "a"])), []);
    assert_eq!(book.look(&devices(&["lo", "a", "b"])), [], "it came back");
    assert_eq!(book.look(&devices(&["lo", "a"])), []);
    assert_eq!(book.look(&devices(&["lo", "a"])), [id("b")]);
    let add = added(&mut book, sandbox("d", 4));
    for _ in 0..3 {
        assert_eq!(book.look(&devices(&["lo", "a"])), [], "CNI is at it");
    }
    book.settle(&add, Settled::Done);
    assert_eq!(book.look(&devices(&["lo"])), []);
    assert_eq!(book.look(&devices(&["lo"])), [id("a"), id("d")]);
    assert_eq!(
        (names(&book), owed(&mut book)),
        (vec!["c".to_owned()], vec!["-b".to_owned(), "-a".to_owned(), "-d".to_owned()])
    );
}

#[test]
fn another_agent_goes_on_and_another_start_of_the_node_begins_anew() {
    let mut book = Book::default();
    attached(&mut book, "a", 1);
    let _ = added(&mut book, sandbox("b", 2));
    let _ = book.delete(&id("c"));
    let kept = book.kept();
    let text = serde_json::to_string(&kept).unwrap();
    assert_eq!(serde_json::from_str::<Kept>(&text).unwrap(), kept);
    let mut next = Book::of(kept.clone(), true);
    assert_eq!(next.kept(), kept);
    assert_eq!(
        (names(&next), owed(&mut next)),
        (vec!["a".to_owned(), "b".to_owned()], vec!["-c".to_owned(), "+b".to_owned()])
    );
    let mut anew = Book::of(kept, false);
    assert_eq!(
        (names(&anew), owed(&mut anew)),
        (vec![], vec!["-c".to_owned(), "-a".to_owned(), "-b".to_owned()])
    );
}

#[test]
fn it_does_not_grow_for_ever() {
    let mut book = Book::default();
    for number in 0..SANDBOXES_LIMIT {
        attached(&mut book, &number.to_string(), 1 + u8::try_from(number / 256).unwrap());
        // Each takes the address of the one before, but for two.
        assert!(book.size().0 <= 2);
    }
    for number in 0..2 * GONE_LIMIT {
        let debt = book.delete(&id(&format!("gone-{number}")));
        book.settle(&debt, Settled::Failed);
    }
    assert_eq!(book.size().1, GONE_LIMIT);
    let mut full = Book::default();
    for number in 0..SANDBOXES_LIMIT {
        let sandbox = Sandbox { addresses: vec![], ..sandbox(&number.to_string(), 0) };
        let debt = added(&mut full, sandbox);
        full.settle(&debt, Settled::Done);
    }
    assert_eq!(full.add(sandbox("more", 1), None).1, Keeping::NoRoom);
    assert_eq!(full.size(), (SANDBOXES_LIMIT, 0));
}
