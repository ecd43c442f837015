//! Forwarded ports that lead nowhere, to an impostor, or break.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use flock_proto::v1::NodeStatus;
use flock_shared::access::{NAMESPACE, PORT};
use flock_testkit::compiler::{FakeCompiler, served};
use flock_testkit::{PORT_FORWARD, TOKEN_REQUEST, Verb};

use crate::site::Site;

/// Far beyond what a slow machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// An address where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_are_asked_where_one_cannot_be_reached() {
    let site = Site::start().await;
    site.pod("compiler-0", "True", nobody());
    site.pod("a-compiler-that-starts", "False", nobody());
    let ended = site.run("nodes").await;
    assert!(ended.code == Some(0) && ended.stdout.contains("n1"), "all that there are: {ended:?}");
    assert!(ended.stdout.contains("asked 1 of 3 replicas"), "{ended:?}");
    let told: Vec<&str> = ended.stderr.lines().collect();
    assert!(told[0].starts_with("flockctl: pod flock-system/compiler-0 was not asked: "), "{ended:?}");
    let unready = "flockctl: pod flock-system/a-compiler-that-starts was not asked: it is not ready";
    assert_eq!(
        told[1..],
        [unready, "flockctl: asked 1 of 3 replicas; nodes that others serve are not known"]
    );
    assert_eq!(site.api.requests(PORT_FORWARD, Verb::Get), 2, "each that is ready");
    site.pod("compiler-a", "True", nobody());
    let complaint = site.complains("nodes").await;
    assert!(
        complaint.starts_with("cannot reach the compiler through the cluster: pod flock-system/compiler-0: ")
    );
    assert!(complaint.contains("; pod flock-system/compiler-a: "), "{complaint}");
    assert_eq!(complaint.matches("refused").count(), 2, "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impostor_is_told_nothing() {
    let site = Site::start().await;
    let impostor = FakeCompiler::start_tls().await;
    site.pod("compiler-a", "True", impostor.address);
    let complaint = site.complains("nodes").await;
    assert!(complaint.contains("certificate"), "{complaint}");
    assert!(impostor.debug.authorizations.lock().unwrap().is_empty());
}

pub(crate) struct Watch {
    child: Child,
    lines: Receiver<String>,
}

impl Watch {
    /// What it prints and complains, line by line.
    pub(crate) fn start(site: &Site, arguments: &str) -> Self {
        let mut command = site.flockctl(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (said, lines) = channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let other = said.clone();
        std::thread::spawn(move || {
            BufReader::new(out).lines().try_for_each(|line| other.send(line.unwrap()))
        });
        std::thread::spawn(move || BufReader::new(err).lines().try_for_each(|line| said.send(line.unwrap())));
        Self { child, lines }
    }

    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it should have said something")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_taken_up_again_with_another_token_until_there_is_no_way() {
    let site = Site::start().await;
    let mut watch = Watch::start(&site, "watch n1");
    assert!(watch.line().starts_with("NODE"));
    assert!(watch.line().contains("000000000000"));

    site.api.forwards().cut();
    let broken = watch.line();
    assert!(broken.starts_with("flockctl: the port-forwarding to pod compiler-a ended: "), "{broken}");
    assert!(broken.ends_with("; asking again"), "{broken}");
    flock_testkit::wait_until("another watch", || {
        site.compiler.debug.authorizations.lock().unwrap().len() == 2
    })
    .await
    .unwrap();
    let newer = NodeStatus { desired_revision: "1".repeat(32), ..served("n1") };
    site.compiler.debug.nodes.send_replace(vec![newer]);
    assert!(watch.line().contains("111111111111"), "and not what was printed before");
    assert_eq!(site.api.requests(TOKEN_REQUEST, Verb::Create), 2);

    site.api.forwards().add(NAMESPACE, "compiler-a", PORT, nobody());
    site.api.forwards().cut();
    assert!(watch.line().ends_with("; asking again"));
    let end = watch.line();
    assert!(end.starts_with("flockctl: the watch cannot go on: cannot reach the compiler"), "{end}");
    let child = &mut watch.child;
    assert_eq!(tokio::task::block_in_place(|| child.wait()).unwrap().code(), Some(1));
}
