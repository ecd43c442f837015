//! The programs beyond loopback: TLS with certificates of the compiler's own, tokens that the API server reviews.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use flock_shared::access::{AGENT_ACCOUNT, AUDIENCE, CA_CONFIG_MAP, CA_KEY, NAMESPACE as OURS};
use flock_testkit::{AccountToken, CONFIG_MAP, NETWORK_POLICY, POD};
use serde_json::json;

use crate::api::Api;
use crate::compiler::Compiler;
use crate::ground::{Ground, NODES};
use crate::shop::allow;
use crate::support::process::Process;
use crate::support::wait::{wait_for, wait_until};

/// A cluster whose compiler asks for tokens, and what agents mount.
pub(crate) struct Secured {
    pub(crate) compiler: Compiler,
    pub(crate) api: Api,
    pub(crate) ground: Ground,
}

impl Secured {
    /// `None` where namespaces cannot be made, which is said.
    pub(crate) fn new(tag: &str) -> Option<Self> {
        let ground = Ground::new(tag)?;
        let api = Api::with_shop();
        for node in NODES {
            let metadata = json!({ "namespace": OURS, "name": format!("agent-{node}") });
            api.put(POD, json!({ "metadata": metadata, "spec": { "nodeName": node, "hostNetwork": true } }));
        }
        api.put(NETWORK_POLICY, allow("web"));
        let kubeconfig = api.server.write_kubeconfig(ground.directory()).unwrap();
        let options = ["--kubeconfig", kubeconfig.to_str().unwrap(), "--tls", "on"];
        let compiler = Compiler::start(options, ground.directory());
        let secured = Self { compiler, api, ground };
        secured.publish();
        Some(secured)
    }

    /// Puts the published authorities where agents read them.
    fn publish(&self) {
        let bundle = wait_for("the authorities", || {
            let map = self.api.server.store().get(CONFIG_MAP, OURS, CA_CONFIG_MAP)?;
            Some(map["data"][CA_KEY].as_str()?.to_owned())
        });
        fs::write(self.file("ca.crt"), bundle).unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.ground.directory().join(name)
    }

    /// Puts a token of a node's agent where `name` reads it; the token.
    pub(crate) fn token(&self, name: &str, node: &str, lifetime: Duration) -> String {
        let pod = self.api.server.store().get(POD, OURS, &format!("agent-{node}")).unwrap();
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let account = AccountToken::new(OURS, AGENT_ACCOUNT).audience(AUDIENCE).node(node);
        let account = account.pod(format!("agent-{node}"), uid).lifetime(lifetime);
        let token = self.api.server.identities().issue(&account);
        fs::write(self.file(&format!("token-{name}")), format!("{token}\n")).unwrap();
        token
    }

    /// Starts an agent on a node that shows the token of `name`.
    pub(crate) fn agent(&self, node: &str, name: &str) -> Process {
        let (ca, token) = (self.file("ca.crt"), self.file(&format!("token-{name}")));
        let url = self.compiler.url().replace("http://", "https://");
        let name = "flock-compiler.flock-system.svc";
        let (ca, token) = (ca.to_str().unwrap(), token.to_str().unwrap());
        let options = ["--ca-file", ca, "--token-file", token, "--server-name", name];
        self.ground.agent(node, &url, &options)
    }

    /// Waits until the kernel of every node has what the objects ask for.
    pub(crate) fn settle(&self) {
        for node in NODES {
            let revision = self.api.revision(&self.file("listed.json"), node);
            wait_until(&format!("{revision} on {node}"), || self.ground.holds(node, &revision));
        }
    }
}

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn agents_are_served_by_their_tokens_and_nothing_secret_is_printed() {
    let Some(mut site) = Secured::new("secured") else { return };
    let mut tokens = vec![site.token("n1", "n1", Duration::from_secs(4)), site.token("n2", "n2", HOUR)];
    let mut agents = NODES.map(|node| site.agent(node, node));
    site.settle();
    site.api.put(NETWORK_POLICY, allow("db"));
    site.settle();

    // The file has another token before the one in use ends, as kubelet has it.
    tokens.push(site.token("n1", "n1", HOUR));
    let ended = agents[0].line("Unauthenticated");
    assert!(ended.contains("expired"), "{ended}");
    site.api.put(NETWORK_POLICY, allow("web"));
    site.settle();

    // The token of one node's agent is of no use for another node.
    tokens.push(site.token("thief", "n1", HOUR));
    let mut thief = site.agent("n2", "thief");
    let refusal = thief.line("PermissionDenied");
    assert!(refusal.contains("the agent of node n1 may not ask for node n2"), "{refusal}");
    let told = site.compiler.process.line("wrong_node");
    assert!(told.contains("peer=127.0.0.1") && told.contains("may not ask for node n2"), "{told}");

    // Whoever else is refused, the log says why.
    let account = |namespace: &str| AccountToken::new(namespace, AGENT_ACCOUNT).node("n1");
    let issue = |account: &AccountToken| site.api.server.identities().issue(account);
    let others = [
        ("not_authenticated", issue(&account(OURS))),
        ("not_authenticated", issue(&account(OURS).audience(AUDIENCE).lifetime(Duration::ZERO))),
        ("not_authenticated", issue(&account(OURS).audience(AUDIENCE).pod("agent-n1", "another"))),
        ("not_the_agent", issue(&account("shop").audience(AUDIENCE))),
        ("no_node", issue(&AccountToken::new(OURS, AGENT_ACCOUNT).audience(AUDIENCE))),
    ];
    for (kind, token) in others {
        let count = |site: &Secured| site.compiler.process.log().matches(&format!("kind=\"{kind}\"")).count();
        let before = count(&site);
        fs::write(site.file("token-other"), &token).unwrap();
        let mut other = site.agent("n2", "other");
        wait_until(&format!("{kind} in the log"), || count(&site) > before);
        other.kill();
        tokens.push(token);
    }
    let mut plain =
        std::net::TcpStream::connect(site.compiler.url().strip_prefix("http://").unwrap()).unwrap();
    std::io::Write::write_all(&mut plain, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let told = site.compiler.process.line("not_tls");
    assert!(told.contains("does not speak TLS"), "{told}");

    // Another process of the compiler has the same certificates.
    site.compiler.kill();
    let before = site.compiler.process.log();
    site.compiler.restart();
    site.api.put(NETWORK_POLICY, allow("db"));
    site.settle();

    let logs = [before, site.compiler.process.log(), thief.log(), agents[0].log(), agents[1].log()].concat();
    for token in &tokens {
        assert!(!logs.contains(token.as_str()), "a token was printed");
        let signature = token.rsplit('.').next().unwrap();
        assert!(!logs.contains(signature), "a part of a token was printed");
    }
    assert!(!logs.contains("PRIVATE") && !logs.contains("Bearer"), "{logs}");
}

#[test]
fn an_agent_that_is_refused_keeps_its_rules() {
    let Some(site) = Secured::new("unserved") else { return };
    site.token("n1", "n1", HOUR);
    site.token("n2", "n2", HOUR);
    let mut agents = NODES.map(|node| site.agent(node, node));
    site.settle();
    let standing = NODES.map(|node| site.api.revision(&site.file("listed.json"), node));
    agents[0].kill();
    fs::write(site.file("token-n1"), "not.a.token").unwrap();
    let mut refused = site.agent("n1", "n1");
    refused.line("Unauthenticated");
    // No token at all, and then no authorities.
    fs::remove_file(site.file("token-n1")).unwrap();
    refused.line("cannot be used");
    refused.line("could not connect");
    fs::write(site.file("ca.crt"), "").unwrap();
    site.token("n1", "n1", HOUR);
    refused.line("authorities are not there yet");
    for (node, revision) in NODES.iter().zip(&standing) {
        assert!(site.ground.holds(node, revision), "{node}");
    }
    // All is well again, without anything being started anew.
    site.publish();
    site.api.put(NETWORK_POLICY, allow("db"));
    site.settle();
}
