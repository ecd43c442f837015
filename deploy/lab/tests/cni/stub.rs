//! 1.1.0 of the specification, which the reference plugins do not speak yet: behind a plugin that says what it is told to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use flock_lab::cni::{Attachment, Runtime};
use flock_shared::cni::{Answer, Call, SandboxId};
use serde_json::{Value, json};

use crate::agent::{Agent, done};
use crate::stage::Stage;

/// A result in no order that anybody would choose.
const RESULT: &str = r#"{ "ips":[ {"interface":1,"address":"10.9.0.7/32"} ],"cniVersion":"1.1.0",
   "routes":[{"priority":1.0e1,"dst":"0.0.0.0/0"}], "interfaces":[{"mtu":1450,"name":"lxc7"},{"sandbox":"/x","name":"eth0"}]}"#;

fn runtime(stage: &Stage, keys: &Value) -> Runtime {
    let path = stage.folder.path().join("stub");
    let script =
        format!("#!/bin/sh\ncat > /dev/null\n[ \"$CNI_COMMAND\" != ADD ] || cat <<'END'\n{RESULT}\nEND\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    stage.chain("1.1.0", vec![json!({ "type": "stub" })], keys)
}

#[test]
fn a_pod_starts_what_stays_is_told_and_it_ends() {
    let Some(stage) = Stage::new("cni-stub") else { return };
    let agent = Agent::start(&stage.socket(), |call| {
        Some(if matches!(call, Call::Gc(_)) { Answer::Failed("no compiler".to_owned()) } else { done() })
    });
    let runtime = runtime(&stage, &json!({}));
    let pod = Attachment::new("3fa9", "/x").of_pod("shop", "web", "0b1c");
    let second = Attachment { interface: "net1".to_owned(), ..pod.clone() };
    assert_eq!(runtime.add(&pod).unwrap(), RESULT);
    runtime.add(&second).unwrap();
    runtime.check(&pod).unwrap();
    runtime.gc(&[pod, second.clone()]).unwrap();
    runtime.gc(&[]).unwrap();
    runtime.del(&second).unwrap();
    let [first, net1] = ["3fa9", "3fa9.net1"].map(|id| SandboxId::new(id).unwrap());
    let asked = agent.asked();
    let [Call::Add(one), Call::Add(two), rest @ ..] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((&one.id, &two.id, one.interface.as_deref()), (&first, &net1, Some("lxc7")));
    assert_eq!(rest, [Call::Gc(vec![first, net1.clone()]), Call::Gc(vec![]), Call::Del(net1)]);
}

#[test]
fn status_is_well_as_long_as_pods_can_start() {
    let Some(stage) = Stage::new("cni-status") else { return };
    let (carry_on, fail) = (runtime(&stage, &json!({})), runtime(&stage, &json!({ "onTimeout": "fail" })));
    carry_on.status().unwrap();
    assert_eq!(fail.status().unwrap_err().code(), Some(50));
    let agent = Agent::start(&stage.socket(), |_| Some(Answer::Failed("no compiler".to_owned())));
    carry_on.status().unwrap();
    fail.status().unwrap();
    assert_eq!(agent.asked(), [Call::Status]);
    let said: Value = serde_json::from_str(&carry_on.version("flock-cni").unwrap()).unwrap();
    assert_eq!(said["supportedVersions"], json!(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]));
}

#[test]
fn another_version_is_told() {
    let Some(stage) = Stage::new("cni-version") else { return };
    let runtime = stage.chain("1.2.0", vec![], &json!({}));
    let error = runtime.add(&Attachment::new("a", "/x")).unwrap_err();
    assert_eq!(error.code(), Some(1), "{error}");
}
