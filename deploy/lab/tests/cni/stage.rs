//! A node with a runtime and its plugins.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use flock_lab::cni::{Attachment, Entry, Runtime, reference_plugins};
use flock_lab::{Lab, Node, Sandbox, skipped};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::programs::{CNI, profile_directory, program};

/// A plugin that gives pods their network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Main {
    Ptp,
    Bridge,
}

pub(crate) struct Stage {
    pub(crate) node: Node,
    pub(crate) folder: TempDir,
    plugins: PathBuf,
    _lab: Lab,
}

impl Stage {
    /// Nothing where it cannot be, which is said.
    pub(crate) fn new(tag: &str) -> Option<Self> {
        let plugins = match Lab::available().and_then(|()| reference_plugins()) {
            Ok(plugins) => plugins,
            Err(reason) => {
                skipped(&reason);
                return None;
            }
        };
        // So that it is there, and newer than its sources.
        drop(program(CNI));
        let lab = Lab::new(tag).unwrap();
        let node = lab.node("n1").unwrap();
        Some(Self { node, folder: tempfile::tempdir().unwrap(), plugins, _lab: lab })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("cni.sock")
    }

    /// The folder in which the plugin that hands out addresses has a file for each.
    pub(crate) fn leases(&self) -> PathBuf {
        self.folder.path().join("leases/net")
    }

    /// A runtime whose list is of the specification's `version`; `keys` are more of the plugin's.
    pub(crate) fn runtime(&self, main: Main, version: &str, keys: &Value) -> Runtime {
        let ipam = json!({
            "type": "host-local",
            "dataDir": self.folder.path().join("leases"),
            "ranges": [[{ "subnet": "10.9.0.0/24" }], [{ "subnet": "fd00:9::/64" }]],
            "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
        });
        let first = match main {
            Main::Ptp => json!({ "type": "ptp", "mtu": 1450, "ipam": ipam }),
            Main::Bridge => {
                json!({ "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": ipam })
            }
        };
        self.chain(
            version,
            vec![first, json!({ "type": "portmap", "capabilities": { "portMappings": true } })],
            keys,
        )
    }

    /// A runtime with these plugins, and ours behind them.
    pub(crate) fn chain(&self, version: &str, mut plugins: Vec<Value>, keys: &Value) -> Runtime {
        let mut own = json!({ "type": CNI, "socket": self.socket(), "timeoutMs": 20_000 });
        own.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        plugins.push(own);
        let list = json!({ "cniVersion": version, "name": "net", "plugins": plugins });
        let own: &Path = &profile_directory();
        let path = [self.plugins.as_path(), own, self.folder.path()];
        Runtime::new(self.node.namespace(), &path, &list.to_string()).unwrap().entering(Entry::NetworkAndSys)
    }

    pub(crate) fn pod(&self, name: &str) -> (Sandbox, Attachment) {
        let sandbox = self.node.sandbox(name).unwrap();
        let attachment = Attachment::new(&format!("box-{name}"), &sandbox.path()).of_pod(
            "shop",
            name,
            &format!("uid-{name}"),
        );
        (sandbox, attachment)
    }
}

/// The addresses of a result.
pub(crate) fn addresses(result: &str) -> Vec<IpAddr> {
    let result: Value = serde_json::from_str(result).unwrap();
    let address = |ip: &Value| ip["address"].as_str().unwrap().split_once('/').unwrap().0.parse().unwrap();
    result["ips"].as_array().unwrap().iter().map(address).collect()
}
