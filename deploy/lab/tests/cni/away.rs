//! Pods start and end whatever becomes of the agent, unless an administrator wants them not to start.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;

use flock_lab::cni::{Attachment, Runtime};
use flock_shared::cni::{Answer, Reach};
use serde_json::json;

use crate::agent::{Agent, done};
use crate::stage::{Main, Stage};

fn starts_and_ends(runtime: &Runtime, attachment: &Attachment) {
    runtime.add(attachment).unwrap();
    runtime.check(attachment).unwrap();
    runtime.del(attachment).unwrap();
    runtime.del(attachment).unwrap();
}

/// It does not start, and leaves nothing.
fn is_refused(stage: &Stage, runtime: &Runtime, attachment: &Attachment) {
    let error = runtime.add(attachment).unwrap_err();
    assert_eq!(error.code(), Some(11), "{error}");
    runtime.del(attachment).unwrap();
    let leases = fs::read_dir(stage.leases()).unwrap().map(|entry| entry.unwrap().file_name());
    let leases: Vec<_> = leases.filter(|name| name.to_string_lossy().starts_with("10.")).collect();
    assert!(leases.is_empty(), "{leases:?}");
}

#[test]
fn an_agent_that_is_not_there_holds_up_nobody() {
    let Some(stage) = Stage::new("cni-gone") else { return };
    let (_pod, attachment) = stage.pod("web");
    let carry_on = stage.runtime(Main::Ptp, "1.0.0", &json!({}));
    let fail = stage.runtime(Main::Ptp, "1.0.0", &json!({ "onTimeout": "fail" }));
    // There has never been one since the node started: it may be about to come.
    let soon = |on_timeout: &str| json!({ "timeoutMs": 50, "onTimeout": on_timeout });
    starts_and_ends(&stage.runtime(Main::Ptp, "1.0.0", &soon("continue")), &attachment);
    is_refused(&stage, &stage.runtime(Main::Ptp, "1.0.0", &soon("fail")), &attachment);
    // A socket that nobody listens at any more.
    drop(UnixListener::bind(stage.socket()).unwrap());
    starts_and_ends(&carry_on, &attachment);
    is_refused(&stage, &fail, &attachment);
    // It comes back.
    fs::remove_file(stage.socket()).unwrap();
    let agent = Agent::start(&stage.socket(), |_| Some(done()));
    starts_and_ends(&fail, &attachment);
    assert_eq!(agent.asked().len(), 3, "one start, two ends");
}

#[test]
fn an_agent_that_does_not_answer_holds_up_for_a_while() {
    let Some(stage) = Stage::new("cni-silent") else { return };
    let (_pod, attachment) = stage.pod("web");
    let _silent = UnixListener::bind(stage.socket()).unwrap();
    let log = stage.folder.path().join("log");
    let keys = |more: &str| json!({ "timeoutMs": 50, "log": log, "onTimeout": more });
    starts_and_ends(&stage.runtime(Main::Ptp, "1.0.0", &keys("continue")), &attachment);
    is_refused(&stage, &stage.runtime(Main::Ptp, "1.0.0", &keys("fail")), &attachment);
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(
        lines[0].contains(" ADD box-web eth0 ") && lines[0].contains("no answer of the agent in time"),
        "{text}"
    );
    assert_eq!(log.metadata().unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_refusal_is_like_a_time_out() {
    let Some(stage) = Stage::new("cni-refused") else { return };
    let (_pod, attachment) = stage.pod("web");
    let answers = [
        Some(Answer::Refused("another UID".to_owned())),
        Some(Answer::Failed("no compiler".to_owned())),
        Some(Answer::Done { reach: Reach::Unclean, behind: vec!["n7".to_owned()] }),
        // Restarted between the call and the answer.
        None,
    ];
    for answer in answers {
        let _agent = Agent::start(&stage.socket(), move |_| answer.clone());
        starts_and_ends(&stage.runtime(Main::Ptp, "1.0.0", &json!({})), &attachment);
        is_refused(&stage, &stage.runtime(Main::Ptp, "1.0.0", &json!({ "onTimeout": "fail" })), &attachment);
    }
}

#[test]
fn containers_of_no_cluster_are_nobodys_business() {
    let Some(stage) = Stage::new("cni-podman") else { return };
    let agent = Agent::start(&stage.socket(), |_| Some(Answer::Refused("no".to_owned())));
    let (pod, _) = stage.pod("web");
    let attachment = Attachment::new("podman", &pod.path());
    let runtime = stage.runtime(Main::Bridge, "1.0.0", &json!({ "onTimeout": "fail" }));
    runtime.add(&attachment).unwrap();
    assert_eq!(agent.asked(), []);
    runtime.del(&attachment).unwrap();
}
