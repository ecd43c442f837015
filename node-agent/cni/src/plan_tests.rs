use std::io;
use std::net::IpAddr;

use super::*;
use flock_shared::PodKey;
use flock_shared::cni::SandboxId;

const RESULT: &str = r#"{ "ips":[{"address":"10.1.0.5/24","interface":1}], "cniVersion":"1.0.0",
  "interfaces":[{"name":"veth7"},{"sandbox":"/run/netns/x","name":"eth0"}], "zeta":1.50, "dns":{} }"#;

fn environment(command: &str) -> Environment {
    Environment {
        command: command.to_owned(),
        container: "3fa9".to_owned(),
        namespace: "/run/netns/x".to_owned(),
        interface: "eth0".to_owned(),
        args: "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=0b1c".to_owned(),
    }
}

fn config(version: &str, keys: &str) -> String {
    format!(r#"{{"cniVersion":"{version}","name":"n","type":"flock-cni"{keys}}}"#)
}

fn chained(version: &str, keys: &str) -> String {
    config(version, &format!(r#","prevResult":{RESULT}{keys}"#))
}

fn planned(command: &str, config: &str) -> Plan {
    plan(&environment(command), config.as_bytes(), |_| Link::Unknown)
}

fn question(plan: Plan) -> Question {
    match plan {
        Plan::Ask(question) => question,
        Plan::Answer { .. } => panic!("{plan:?}"),
    }
}

/// The answer that needs no question, and the note.
fn answered(plan: Plan) -> (Reply, Option<String>) {
    match plan {
        Plan::Answer { reply, note, .. } => (reply, note),
        Plan::Ask(_) => panic!("{plan:?}"),
    }
}

fn code(reply: &Reply) -> Option<Code> {
    match reply {
        Reply::Success(_) => None,
        Reply::Failure { failure, .. } => Some(failure.code),
    }
}

fn absent() -> AskError {
    AskError::Absent { socket: "/s".into(), source: io::ErrorKind::NotFound.into() }
}

/// What may come of a question, and whether it is what was asked for.
fn outcomes() -> Vec<(Outcome, bool)> {
    let done = |reach| Ok(Answer::Done { reach, behind: vec!["n2".to_owned()] });
    vec![
        (done(Reach::Everywhere), true),
        (done(Reach::Node), true),
        (done(Reach::Unclean), false),
        (Ok(Answer::Refused("another UID".to_owned())), false),
        (Ok(Answer::Failed("no compiler".to_owned())), false),
        (Err(absent()), false),
        (Err(AskError::Crowded), false),
        (Err(AskError::Late), false),
        (Err(AskError::Garbled), false),
    ]
}

#[test]
fn add_asks_and_hands_on_the_result_as_it_was() {
    for version in VERSIONS {
        let question = question(planned("ADD", &chained(version, r#","timeoutMs":70,"socket":"/s""#)));
        let address: IpAddr = "10.1.0.5".parse().unwrap();
        let sandbox = Sandbox {
            id: SandboxId::new("3fa9").unwrap(),
            pod: PodKey::new("shop", "web-0").unwrap(),
            uid: Some("0b1c".to_owned()),
            addresses: vec![address],
            interface: Some("veth7".to_owned()),
        };
        assert_eq!(question.call, Call::Add(sandbox));
        assert_eq!((question.socket.as_path(), question.within.as_millis()), ("/s".as_ref(), 70));
        for (outcome, _) in outcomes() {
            assert_eq!(question.reply(&outcome), Reply::Success(Some(RESULT.to_owned())), "{outcome:?}");
        }
    }
}

#[test]
fn add_fails_only_where_that_is_wanted() {
    let question = question(planned("ADD", &chained("1.0.0", r#","onTimeout":"fail""#)));
    for (outcome, is_done) in outcomes() {
        let reply = question.reply(&outcome);
        let expected = if is_done { None } else { Some(Code::TryAgainLater) };
        assert_eq!(code(&reply), expected, "{outcome:?}");
    }
    let refused = question.reply(&Ok(Answer::Refused("another UID".to_owned())));
    let Reply::Failure { version, failure } = refused else { panic!("{refused:?}") };
    assert_eq!((version, failure.details.as_str()), (Some("1.0.0"), "refused: another UID"));
}

#[test]
fn add_of_no_pod_says_nothing() {
    for args in ["", "IgnoreUnknown=1"] {
        for keys in ["", r#","onTimeout":"fail""#] {
            let environment = Environment { args: args.to_owned(), ..environment("ADD") };
            let plan = plan(&environment, chained("1.0.0", keys).as_bytes(), |_| Link::Unknown);
            assert_eq!(answered(plan).0, Reply::Success(Some(RESULT.to_owned())));
        }
    }
    let text = config("1.0.0", r#","prevResult":{"cniVersion":"1.0.0","interfaces":[]}"#);
    let (reply, note) = answered(planned("ADD", &text));
    assert_eq!((code(&reply), note.as_deref()), (None, Some("a pod without addresses")));
}

#[test]
fn add_of_what_cannot_be_is_like_a_time_out() {
    let wrong = [
        Environment { args: "K8S_POD_NAMESPACE=shop".to_owned(), ..environment("ADD") },
        Environment { args: "K8S_POD_NAMESPACE=S;K8S_POD_NAME=web".to_owned(), ..environment("ADD") },
        Environment {
            args: "K8S_POD_NAMESPACE=s;K8S_POD_NAME=w;K8S_POD_UID=a b".to_owned(),
            ..environment("ADD")
        },
        Environment { container: "a".repeat(129), ..environment("ADD") },
    ];
    for environment in wrong {
        let reply =
            |keys: &str| answered(plan(&environment, chained("1.0.0", keys).as_bytes(), |_| Link::Unknown)).0;
        assert_eq!(reply(""), Reply::Success(Some(RESULT.to_owned())), "{environment:?}");
        assert_eq!(code(&reply(r#","onTimeout":"fail""#)), Some(Code::TryAgainLater), "{environment:?}");
    }
    let many: Vec<String> = (0..17).map(|number| format!(r#"{{"address":"10.0.0.{number}/24"}}"#)).collect();
    let text = config("1.0.0", &format!(r#","prevResult":{{"ips":[{}]}}"#, many.join(",")));
    let (reply, note) = answered(planned("ADD", &text));
    assert_eq!(code(&reply), None);
    assert!(note.unwrap().contains("17 addresses"));
}

#[test]
fn an_interface_without_a_proper_name_is_not_told() {
    let text = chained("1.0.0", "").replace("veth7", "a name of more than fifteen");
    let Call::Add(sandbox) = question(planned("ADD", &text)).call else { panic!() };
    assert_eq!((sandbox.interface, sandbox.addresses.len()), (None, 1));
}

#[test]
fn add_needs_a_result_before_it_and_proper_keys() {
    for text in
        [config("1.0.0", ""), config("1.0.0", r#","prevResult":null"#), chained("1.0.0", r#","timeoutMs":0"#)]
    {
        let (reply, _) = answered(planned("ADD", &text));
        assert_eq!(code(&reply), Some(Code::Config), "{text}");
    }
}

#[test]
fn del_succeeds_whatever_comes_of_it() {
    for keys in ["", r#","timeoutMs":60000,"onTimeout":"fail""#, r#","timeoutMs":"x","socket":5"#] {
        for text in [config("0.3.1", keys), chained("1.1.0", keys)] {
            let question = question(planned("DEL", &text));
            assert_eq!(question.call, Call::Del(SandboxId::new("3fa9").unwrap()));
            assert!(question.within <= Duration::from_secs(2), "{keys}");
            for (outcome, _) in outcomes() {
                assert_eq!(question.reply(&outcome), Reply::Success(None));
            }
        }
    }
    let long = Environment { container: "a".repeat(200), namespace: String::new(), ..environment("DEL") };
    let (reply, _) = answered(plan(&long, config("1.0.0", "").as_bytes(), |_| Link::Unknown));
    assert_eq!(reply, Reply::Success(None));
}

#[test]
fn del_of_one_of_several_interfaces_leaves_the_others() {
    let other = Environment { interface: "net1".to_owned(), ..environment("DEL") };
    let plan = plan(&other, config("1.0.0", "").as_bytes(), |_| Link::Unknown);
    assert_eq!(question(plan).call, Call::Del(SandboxId::new("3fa9.net1").unwrap()));
}

#[test]
fn gc_says_what_stays_or_nothing() {
    let stay = r#","cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"},{"containerID":"a","ifname":"net1"}]"#;
    let question = question(planned("GC", &config("1.1.0", stay)));
    let ids = ["a", "a.net1"].map(|id| SandboxId::new(id).unwrap());
    assert_eq!(question.call, Call::Gc(ids.to_vec()));
    for (outcome, _) in outcomes() {
        assert_eq!(question.reply(&outcome), Reply::Success(None));
    }
    let bad = format!(r#","cni.dev/valid-attachments":[{{"containerID":"{}"}}]"#, "a".repeat(129));
    for keys in ["", r#","cni.dev/valid-attachments":null"#, &bad] {
        let (reply, note) = answered(planned("GC", &config("1.1.0", keys)));
        assert_eq!(reply, Reply::Success(None));
        assert!(note.is_some(), "{keys}");
    }
}

#[test]
fn a_question_is_of_a_network() {
    let name = |name: &str| NetworkName::new(name).ok();
    for (command, keys) in [
        ("ADD", ""),
        ("DEL", ""),
        ("GC", r#","cni.dev/valid-attachments":[]"#),
        ("STATUS", r#","onTimeout":"fail""#),
    ] {
        let asked = |network: &str| {
            let text = chained("1.1.0", keys).replacen(r#""name":"n""#, &format!(r#""name":"{network}""#), 1);
            question(planned(command, &text)).network
        };
        assert_eq!(asked("cbr0"), name("cbr0"), "{command}");
        // Which the specification does not allow, and nobody has to suffer for.
        assert_eq!(asked("my network"), None, "{command}");
    }
}

#[test]
fn status_fails_only_where_add_certainly_would() {
    let (reply, _) = answered(planned("STATUS", &config("1.1.0", "")));
    assert_eq!(reply, Reply::Success(None));
    let question = question(planned("STATUS", &config("1.1.0", r#","onTimeout":"fail""#)));
    assert!(question.within <= Duration::from_millis(500));
    for (outcome, _) in outcomes() {
        let expected = matches!(outcome, Err(AskError::Absent { .. })).then_some(Code::NotAvailable);
        assert_eq!(code(&question.reply(&outcome)), expected, "{outcome:?}");
    }
    let (reply, _) = answered(planned("STATUS", &config("1.1.0", r#","onTimeout":1"#)));
    assert_eq!(code(&reply), Some(Code::Config));
}

#[test]
fn check_asks_nobody() {
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        assert_eq!(
            answered(planned("CHECK", &chained(version, r#","onTimeout":"fail""#))).0,
            Reply::Success(None)
        );
    }
}

#[test]
fn commands_are_of_a_version() {
    for (command, version) in [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "0.4.0"), ("ADD", "0.2.0")] {
        let (reply, _) = answered(planned(command, &config(version, "")));
        assert_eq!(code(&reply), Some(Code::IncompatibleVersion), "{command} {version}");
    }
    let (reply, _) = answered(planned("WATCH", &config("1.1.0", "")));
    assert_eq!(code(&reply), Some(Code::Environment));
}

#[test]
fn version_tells_those_that_there_are() {
    for (input, version) in [(r#"{"cniVersion":"0.4.0"}"#, "0.4.0"), ("", "1.1.0"), ("no", "1.1.0")] {
        let (reply, _) = answered(planned("VERSION", input));
        let supported = r#"["0.3.1","0.4.0","1.0.0","1.1.0"]"#;
        let expected = format!(r#"{{"cniVersion":"{version}","supportedVersions":{supported}}}"#);
        assert_eq!(reply, Reply::Success(Some(expected)), "{input}");
    }
}
