//! Scripts of several steps with the real nft: what judges while they are under way, and what a break leaves.

use std::fmt::Write as _;
use std::time::Duration;

use flock_node_agent::executor::{Executor, Left};
use flock_node_agent::nft::Nft;
use flock_proto::{Outcome, Update, UpdateKind};
use flock_shared::{Revision, Script};
use flock_testkit::compiler::FakeCompiler;
use rustix::process::Signal;

use crate::kernel::Namespace;
use crate::process::{agent, end, signal};
use crate::stage::until;
use crate::updates::revision;

const LIMIT: Duration = Duration::from_secs(30);

fn executor(namespace: &Namespace) -> Executor {
    Executor::new(Nft::new(namespace.nft().parse().unwrap(), LIMIT))
}

const PODS: &str = "pods4_00000000000000000000000000000001";

/// A block that fills a set, as a compiler writes it.
fn block(set: &str, elements: &str) -> String {
    format!(
        "table inet flock_netpol {{\n\tset {set} {{\n\t\ttypeof ip saddr\n\t\telements = {{\n\t\t\t{elements}\n\t\t}}\n\t}}\n}}\n"
    )
}

/// A full script of the state `name` in steps, whose last one is `last`; it has so many addresses in a set.
fn stepped(name: &str, addresses: usize, last: &str) -> Script {
    let table = "table inet flock_netpol";
    let mut text = format!("add {table}\ndelete {table}\n");
    for (number, step) in (0..addresses).collect::<Vec<_>>().chunks(5000).enumerate() {
        let elements: Vec<String> =
            step.iter().map(|it| format!("10.{}.{}.{}", it >> 16, it >> 8 & 255, it & 255)).collect();
        let separator = if number > 0 { "# step\n" } else { "" };
        let lines: Vec<String> = elements.chunks(16).map(|line| line.join(", ")).collect();
        let block = block(PODS, &lines.join(",\n\t\t\t"));
        let _ = write!(text, "{separator}{block}");
    }
    let marker = format!("add set inet flock_netpol rev_{} {{ typeof ip saddr; }}\n", revision(name));
    let base = "\t\ttype filter hook forward priority filter - 9; policy drop;";
    let rule = format!("\t\tip saddr @{PODS} counter accept");
    let _ = write!(text, "# step\n{table} {{\n\tchain ingress {{\n{base}\n{rule}\n\t}}\n}}\n{last}{marker}");
    Script::new(text)
}

const TABLES: &str = "list tables";
const ONLY_OURS: &str = "table inet flock_netpol\n";
/// What the guard takes, and nft does not: there is no such set.
const REFUSED: &str = "delete set inet flock_netpol pods4_0000000000000000ffffffffffffffff\n";

#[tokio::test]
async fn a_stepped_script_ends_in_the_same_table_from_wherever() {
    let Some(namespace) = Namespace::new("stepped") else { return };
    let whole = stepped("a", 12_000, "");
    namespace.apply(std::str::from_utf8(whole.bytes()).unwrap());
    let table = namespace.table();
    assert!(table.contains("10.0.46.223"), "the whole file is one transaction too");

    // From what stands, from nothing, from what a killed agent left, from a half-filled table.
    let mut executor = executor(&namespace);
    for prepare in ["", "delete table inet flock_netpol\n", "flush chain inet flock_netpol ingress\n"] {
        namespace.apply(prepare);
        let run = executor.full(&whole, &revision("a")).await;
        run.result.unwrap();
        assert_eq!(namespace.table(), table, "{prepare:?}");
        assert_eq!(namespace.list(TABLES), ONLY_OURS, "{prepare:?}");
    }
}

#[tokio::test]
async fn a_break_in_the_first_pass_leaves_what_stood() {
    let Some(namespace) = Namespace::new("break1") else { return };
    let mut executor = executor(&namespace);
    executor.full(&stepped("a", 6000, ""), &revision("a")).await.result.unwrap();
    let before = namespace.table();
    let run = executor.full(&stepped("b", 7000, REFUSED), &revision("b")).await;
    assert!(run.result.is_err());
    assert_eq!(run.left, Left::Before);
    assert_eq!(namespace.table(), before);
    assert_eq!(namespace.list(TABLES), ONLY_OURS, "what the steps added is gone");
}

/// What a compiler says of a bridge, in a step of its own.
fn with_bridge(script: &Script, ports: &str) -> Script {
    let text = std::str::from_utf8(script.bytes()).unwrap();
    let (filled, last) = text.rsplit_once("# step\n").unwrap();
    let table = "table bridge flock_netpol";
    let set =
        format!("\tset other_ports {{\n\t\ttypeof iifname\n\t\telements = {{\n\t\t\t{ports}\n\t\t}}\n\t}}\n");
    let frames = "\tchain frames {\n\t\tcounter drop\n\t}\n";
    let hook = "type filter hook forward priority filter; policy drop;";
    let forward =
        format!("\tchain forward {{\n\t\t{hook}\n\t\tiifname @other_ports accept\n\t\tgoto frames\n\t}}\n");
    Script::new(format!(
        "add {table}\ndelete {table}\n{filled}# step\n{table} {{\n{set}{frames}}}\n# step\n{table} {{\n{forward}}}\n{last}"
    ))
}

#[tokio::test]
async fn a_stepped_script_with_a_bridge_replaces_both_tables_and_leaves_no_stand_in() {
    let Some(namespace) = Namespace::new("stepped2") else { return };
    let mut executor = executor(&namespace);
    let bridge = |namespace: &Namespace| namespace.list("list table bridge flock_netpol");
    let tables = |namespace: &Namespace| {
        let mut tables: Vec<String> = namespace.list(TABLES).lines().map(ToOwned::to_owned).collect();
        tables.sort_unstable();
        tables
    };
    let both = ["table bridge flock_netpol", "table inet flock_netpol"];
    let script = with_bridge(&stepped("a", 6000, ""), "\"docker1\"");
    flock_node_agent::guard::check(&flock_node_agent::guard::Costs::default(), script.bytes()).unwrap();
    executor.full(&script, &revision("a")).await.result.unwrap();
    assert_eq!(tables(&namespace), both);
    assert!(bridge(&namespace).contains("docker1"));
    executor.full(&with_bridge(&stepped("b", 7000, ""), "\"docker2\""), &revision("b")).await.result.unwrap();
    let stands = bridge(&namespace);
    assert!(stands.contains("docker2") && !stands.contains("docker1"), "{stands}");
    assert_eq!(
        (tables(&namespace), stands.matches("hook forward").count()),
        (both.map(Into::into).into(), 1)
    );
    // A break leaves both as they were.
    let broken = with_bridge(&stepped("c", 7000, REFUSED), "\"docker3\"");
    let run = executor.full(&broken, &revision("c")).await;
    assert!(run.result.is_err());
    assert_eq!(
        (run.left, bridge(&namespace), tables(&namespace)),
        (Left::Before, stands, both.map(Into::into).into())
    );
}

#[tokio::test]
async fn an_agent_that_is_killed_between_steps_leaves_a_whole_table_in_force() {
    let Some(namespace) = Namespace::new("killed") else { return };
    let script = stepped("b", 12_000, "");
    let series = flock_node_agent::series::Series::of(&script);
    let steps: Vec<String> = series
        .first_pass()
        .iter()
        .chain(&series.second_pass())
        .map(|step| String::from_utf8(step.to_vec()).unwrap())
        .collect();
    for killed_after in 1..steps.len() {
        executor(&namespace).full(&stepped("a", 6000, ""), &revision("a")).await.result.unwrap();
        steps[..killed_after].iter().for_each(|step| namespace.apply(step));
        let judging = namespace.list("list chains").matches("hook forward").count();
        assert_eq!(judging, 1, "after {killed_after} of {}", steps.len());
        // The next agent knows nothing of it.
        executor(&namespace).full(&script, &revision("b")).await.result.unwrap();
        assert_eq!(namespace.list(TABLES), ONLY_OURS);
        assert_eq!(namespace.list("list chains").matches("hook forward").count(), 1);
        // A script of one step ends it as well.
        steps[..killed_after].iter().for_each(|step| namespace.apply(step));
        executor(&namespace).full(&crate::updates::script("c"), &revision("c")).await.result.unwrap();
        assert_eq!(namespace.list(TABLES), ONLY_OURS);
    }
}

#[tokio::test]
async fn a_break_in_the_second_pass_leaves_the_new_table_in_force() {
    let Some(namespace) = Namespace::new("break2") else { return };
    let mut executor = executor(&namespace);
    executor.full(&stepped("a", 6000, ""), &revision("a")).await.result.unwrap();
    // Taken on the stand-in, refused on the table: a name of the table alone is not rewritten.
    let last = "add table ip flock_only_once\ncreate table ip flock_only_once2\n";
    let run = executor.full(&stepped("b", 7000, last), &revision("b")).await;
    assert!(run.result.is_err());
    assert_eq!(run.left, Left::Other);
    let chains = namespace.list("list chains inet");
    assert!(chains.contains("flock_netpol_next") && chains.matches("hook forward").count() == 1, "{chains}");
    assert!(!namespace.list(TABLES).contains("inet flock_netpol\n"), "what the second pass added is gone");
    namespace.apply("delete table ip flock_only_once\ndelete table ip flock_only_once2\n");
    executor.full(&stepped("b", 7000, ""), &revision("b")).await.result.unwrap();
    assert_eq!(namespace.list(TABLES), ONLY_OURS);
}

#[tokio::test]
async fn steps_are_the_agents_own_and_no_drift_and_come_back_at_boot() {
    let Some(namespace) = Namespace::new("own") else { return };
    let state = tempfile::tempdir().unwrap();
    let mut compiler = FakeCompiler::start().await;
    let (url, nft, dir) = (compiler.url(), namespace.nft(), state.path().to_str().unwrap().to_owned());
    let arguments = ["--node", "n1", "--compiler", &url, "--nft", &nft, "--state-dir", &dir];
    let mut child = agent(&arguments).spawn().unwrap();
    let mut session = compiler.session().await;
    assert_eq!(session.hello.refused, Vec::<String>::new(), "this kernel takes all that scripts hold");
    let full = |name: &str, count| Update::new(revision(name), UpdateKind::Full(stepped(name, count, "")));
    for (name, count) in [("a", 6000), ("b", 7000), ("c", 30)] {
        let ack = session.ask(full(name, count).into()).await;
        assert_eq!((ack.outcome, ack.drifts), (Outcome::Applied, 0), "{}", ack.error);
    }
    // A delta in steps: the first goes on from the base, the last wants that it has.
    let (base, next): (Revision, Revision) = (revision("c"), revision("d"));
    let fill = block("pods4_00000000000000000000000000000002", "10.9.9.9");
    let mark = format!("add set inet flock_netpol rev_{next} {{ typeof ip saddr; }}\n");
    let left = flock_shared::marker::has_left(&base);
    let leaving = flock_shared::marker::leaving(&base);
    let delta = Script::new(format!("{leaving}{fill}# step\n{left}{mark}"));
    let update = Update::new(next, UpdateKind::Delta { base, script: delta });
    let ack = session.ask(update.into()).await;
    assert_eq!((ack.outcome, ack.drifts), (Outcome::Applied, 0), "{}", ack.error);
    let table = namespace.table();
    // One that breaks after its first step is taken back.
    let (base, next) = (revision("d"), revision("e"));
    let leaving = flock_shared::marker::leaving(&base);
    let script = Script::new(format!(
        "{leaving}{}# step\n{REFUSED}",
        block("pods4_00000000000000000000000000000003", "10.9.9.9")
    ));
    let ack = session.ask(Update::new(next, UpdateKind::Delta { base, script }).into()).await;
    assert_eq!(ack.outcome, Outcome::NftFailed);
    let repaired = session.ack().await;
    assert_eq!((repaired.revision, repaired.outcome), (Some(revision("d")), Outcome::Applied));
    assert_eq!((namespace.table(), repaired.drifts), (table.clone(), 0));

    until(|| std::fs::read(state.path().join("ruleset.deltas")).is_ok_and(|bytes| !bytes.is_empty())).await;
    signal(&child, Signal::TERM);
    session.end().await;
    drop(session);
    assert_eq!(end(child).await.status.code(), Some(0));
    namespace.apply("delete table inet flock_netpol\n");
    child = agent(&arguments).spawn().unwrap();
    let session = compiler.session().await;
    assert_eq!(session.hello.applied, Some(revision("d")));
    assert_eq!(namespace.table(), table);
    signal(&child, Signal::TERM);
    drop(session);
    assert_eq!(end(child).await.status.code(), Some(0));
}

#[tokio::test]
async fn an_nft_that_wants_more_memory_than_it_may_have_fails_in_words() {
    let Some(namespace) = Namespace::new("memory") else { return };
    let mut compiler = FakeCompiler::start().await;
    let (url, nft) = (compiler.url(), namespace.nft());
    let arguments = ["--node", "n1", "--compiler", &url, "--nft", &nft, "--nft-memory", "20"];
    let child = agent(&arguments).spawn().unwrap();
    let mut session = compiler.session().await;
    let one = stepped("a", 50_000, "");
    let text = String::from_utf8(one.bytes().to_vec()).unwrap().replace("# step\n", "");
    let update = Update::new(revision("a"), UpdateKind::Full(Script::new(text)));
    let ack = session.ask(update.into()).await;
    assert_eq!(ack.outcome, Outcome::NftFailed);
    assert!(ack.error.contains("20 MiB") && ack.error.contains("emory"), "{}", ack.error);
    // In steps it fits.
    let ack = session.ask(Update::new(revision("a"), UpdateKind::Full(one)).into()).await;
    assert_eq!(ack.outcome, Outcome::Applied, "{}", ack.error);
    signal(&child, Signal::TERM);
    drop(session);
    assert_eq!(end(child).await.status.code(), Some(0));

    let leftovers = "add table inet flock_netpol_next\nadd table bridge flock_netpol\nadd table inet flock_netpol_trial\n";
    namespace.apply(leftovers);
    let output = end(agent(&["--uninstall", "--nft", &nft]).spawn().unwrap()).await;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(namespace.list(TABLES), "");
}

/// A host behind the router, which is the namespace in which nft works.
fn host(router: &Namespace, number: u8, address: &str, gateway: &str) -> Namespace {
    let host = Namespace::new(&format!("host{number}")).unwrap();
    let (inside, outside) = (host.name(), format!("to{number}"));
    let router = router.name();
    for command in [
        format!("ip link add {outside} netns {router} type veth peer name eth0 netns {inside}"),
        format!("ip -n {router} address add {gateway}/24 dev {outside}"),
        format!("ip -n {router} link set {outside} up"),
        format!("ip -n {inside} address add {address}/24 dev eth0"),
        format!("ip -n {inside} link set eth0 up"),
        format!("ip -n {inside} route add default via {gateway}"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        assert!(
            std::process::Command::new(words[0]).args(&words[1..]).status().unwrap().success(),
            "{command}"
        );
    }
    host
}

/// The packets that a rule of the table `watch` has counted.
fn counted(namespace: &Namespace, comment: &str) -> u64 {
    let table = namespace.list("list table ip watch");
    let line = table.lines().find(|line| line.contains(comment)).unwrap();
    line.split_once("packets ").unwrap().1.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn no_denied_packet_passes_and_allowed_ones_go_on_while_a_table_is_replaced_in_steps() {
    let Some(router) = Namespace::new("flood") else { return };
    let allowed = host(&router, 1, "10.0.0.5", "10.0.0.1");
    let denied = host(&router, 2, "10.200.0.5", "10.200.0.1");
    let _target = host(&router, 3, "10.99.0.2", "10.99.0.1");
    let sysctl = ["netns", "exec", router.name(), "sysctl", "-qw", "net.ipv4.ip_forward=1"];
    assert!(std::process::Command::new("ip").args(sysctl).status().unwrap().success());
    router.apply(
        "table ip watch {
           chain come { type filter hook prerouting priority -400; ip saddr 10.0.0.5 counter comment \"came\"; }
           chain go { type filter hook postrouting priority 400; \
             ip saddr 10.0.0.5 counter comment \"passed\"; ip saddr 10.200.0.5 counter comment \"leaked\"; }
         }",
    );
    let mut executor = executor(&router);
    executor.full(&stepped("a", 12_000, ""), &revision("a")).await.result.unwrap();
    let flood = |from: &Namespace| {
        let shell =
            "while :; do for _ in 1 2 3 4 5 6 7 8; do echo x > /dev/udp/10.99.0.2/9; done; sleep 0.005; done";
        let mut command = tokio::process::Command::new("ip");
        command.args(["netns", "exec", from.name(), "bash", "-c", shell]).kill_on_drop(true);
        command.stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut senders = [flood(&allowed), flood(&denied)];
    until(|| counted(&router, "passed") > 100).await;
    for name in ["b", "c", "d", "e"] {
        executor.full(&stepped(name, 12_000, ""), &revision(name)).await.result.unwrap();
    }
    for sender in &mut senders {
        sender.kill().await.unwrap();
    }
    let (came, passed) = (counted(&router, "came"), counted(&router, "passed"));
    assert_eq!(counted(&router, "leaked"), 0);
    assert!(passed > 0 && passed * 100 >= came * 99, "{passed} of {came} passed");
    println!("{passed} of {came} allowed packets passed during four replacements");
}
