//! A sandbox whose link is gone from the namespace of nft was deleted, and nobody said so.

use std::process::Command;

use flock_shared::cni::{Call, Sandbox};
use flock_testkit::compiler::FakeCompiler;

use crate::cni::{LONG, answered, calling, done, sandbox};
use crate::kernel::{Namespace, skipped};
use crate::process::agent;

#[tokio::test]
async fn a_sandbox_whose_link_is_gone_is_told_to_be_gone() {
    let Some(namespace) = Namespace::new("cni-links") else { return };
    let ip = |arguments: &str| {
        let command = Command::new("ip").args(["-n", namespace.name()]).args(arguments.split(' ')).output();
        command.unwrap().status.success()
    };
    let make = |name: &str| ip(&format!("link add {name} type veth peer name p-{name}"));
    if !make("veth-a") || !make("veth-b") {
        return skipped("needs veth");
    }
    let mut compiler = FakeCompiler::start().await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("cni.sock");
    let (url, nft, path) = (compiler.url(), namespace.nft(), socket.to_str().unwrap());
    let _child = agent(&["--node", "n1", "--compiler", &url, "--nft", &nft, "--cni-socket", path])
        .args(["--check-interval", "0.2"])
        .spawn()
        .unwrap();
    let mut session = compiler.session().await;
    assert_eq!(session.sandboxes().await, []);
    let unknown = Sandbox { interface: None, ..sandbox("c", "10.0.0.3") };
    for sandbox in [sandbox("a", "10.0.0.1"), sandbox("b", "10.0.0.2"), unknown] {
        let add = calling(&socket, Call::Add(sandbox), LONG);
        compiler.call().await.done();
        assert_eq!(answered(add).await, done());
    }
    assert!(ip("link del veth-a"));
    let gone = compiler.call().await;
    assert_eq!(gone.name(), "-a");
    gone.done();
    let left: Vec<String> = session.sandboxes().await.iter().map(|sandbox| sandbox.id.to_string()).collect();
    assert_eq!(left, ["b", "c"]);
}
