//! Two nodes with a server on one of them, a compiler that follows an API server with their objects, and no agents yet.

use std::net::IpAddr;

use flock_lab::{Pod, Probe, Protocol, Verdict};
use flock_testkit::{NAMESPACE, NETWORK_POLICY, NODE};
use serde_json::{Value, json};

use crate::api::Api;
use crate::compiler::Compiler;
use crate::ground::{Ground, NODES};

/// The cluster. What is declared first ends first.
pub(crate) struct TwoNodes {
    /// A server on n2, which no object is about yet.
    pub(crate) db: Pod,
    pub(crate) compiler: Compiler,
    pub(crate) api: Api,
    pub(crate) ground: Ground,
}

impl TwoNodes {
    /// With these namespaces and this policy; the compiler has options beside the kubeconfig.
    pub(crate) fn new(tag: &str, namespaces: &[&str], policy: Value, options: &[&str]) -> Option<Self> {
        let ground = Ground::new(tag)?;
        let api = Api::start();
        for (number, node) in (1..).zip(NODES) {
            let spec = json!({ "podCIDRs": [format!("10.1.{number}.0/24")] });
            api.put(NODE, json!({ "metadata": { "name": node }, "spec": spec }));
        }
        for namespace in namespaces {
            api.put(NAMESPACE, json!({ "metadata": { "name": namespace } }));
        }
        api.put(NETWORK_POLICY, policy);
        let kubeconfig = api.server.write_kubeconfig(ground.directory()).unwrap();
        let options = [&["--kubeconfig", kubeconfig.to_str().unwrap()], options].concat();
        let compiler = Compiler::start(options, ground.directory());
        let db = ground.pod("n2", "db", "10.1.2.4");
        Some(Self { db, compiler, api, ground })
    }

    /// Whether a packet of `from` reaches the server.
    pub(crate) fn reaches(&self, from: &Pod) -> Verdict {
        let address: IpAddr = self.db.addresses()[0];
        Probe::new(from, Protocol::Tcp, address, 80).run().unwrap()
    }
}
