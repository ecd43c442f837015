//! A container runtime, as far as CNI: it runs a list of plugins on a node as the specification says (environment, standard
//! input, chain, `prevResult`, what it remembers of an attachment), and nothing else. The plugins may be anybody's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::command::feed;
use crate::error::LabError;
use crate::namespace::Namespace;

/// Where Debian's `containernetworking-plugins` and others have them.
const FOLDERS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];
/// Plugins that tests use.
const PLUGINS: [&str; 4] = ["ptp", "bridge", "host-local", "portmap"];

/// The folder of the reference plugins; the reason, as a clause for [`skipped`](crate::skipped()), where they are missing.
///
/// # Errors
/// The reason.
pub fn reference_plugins() -> Result<PathBuf, String> {
    let has_all = |folder: &Path| PLUGINS.iter().all(|plugin| folder.join(plugin).is_file());
    let found = FOLDERS.iter().map(PathBuf::from).find(|folder| has_all(folder));
    found.ok_or_else(|| "needs the package containernetworking-plugins".to_owned())
}

/// Why a plugin did not do what it was called for.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// The node cannot be entered.
    #[error(transparent)]
    Node(#[from] LabError),
    /// The configuration is none, or a plugin of it is in no folder.
    #[error("{0}")]
    Configuration(String),
    /// A plugin cannot be run.
    #[error("{plugin}: {source}")]
    Start {
        /// Which.
        plugin: String,
        /// What the system said.
        source: io::Error,
    },
    /// A plugin said no.
    #[error("{plugin} {command}: code {code}: {said}")]
    Failed {
        /// Which.
        plugin: String,
        /// What it was called for.
        command: &'static str,
        /// The specification's code; 0 where it said none.
        code: u64,
        /// Both of its outputs.
        said: String,
    },
}

impl CniError {
    /// The specification's code, where a plugin gave one.
    #[must_use]
    pub const fn code(&self) -> Option<u64> {
        match self {
            Self::Failed { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// What is attached to the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_NETNS`: the path of the network namespace.
    pub namespace: String,
    /// `CNI_IFNAME`.
    pub interface: String,
    /// `CNI_ARGS`.
    pub args: String,
}

impl Attachment {
    /// The first interface of a container.
    #[must_use]
    pub fn new(container: &str, namespace: &str) -> Self {
        let [container, namespace] = [container, namespace].map(str::to_owned);
        Self { container, namespace, interface: "eth0".to_owned(), args: String::new() }
    }

    /// The same, of a pod, as a kubelet's runtime says it.
    #[must_use]
    pub fn of_pod(self, namespace: &str, name: &str, uid: &str) -> Self {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={uid}",
            self.container
        );
        Self { args, ..self }
    }

    fn key(&self) -> (String, String) {
        (self.container.clone(), self.interface.clone())
    }
}

/// How plugins are brought to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Their network is the node's; `/sys` shows that of this process. A millisecond.
    Network,
    /// `/sys` shows the node's, too (`ip netns exec`).
    NetworkAndSys,
}

/// A runtime on a node, with one list of plugins. Calls for different containers may be made at the same time.
#[derive(Debug)]
pub struct Runtime {
    node: Namespace,
    entry: Entry,
    path: Vec<PathBuf>,
    list: Map<String, Value>,
    results: Mutex<BTreeMap<(String, String), String>>,
}

impl Runtime {
    /// A runtime that looks for plugins in these folders. `list` is what would be a file `.conflist`.
    ///
    /// # Errors
    /// When it is no list.
    pub fn new(node: &Namespace, path: &[&Path], list: &str) -> Result<Self, CniError> {
        let list = serde_json::from_str(list).map_err(|error| CniError::Configuration(error.to_string()))?;
        let path = path.iter().map(|folder| folder.to_path_buf()).collect();
        Ok(Self { node: node.clone(), entry: Entry::Network, path, list, results: Mutex::default() })
    }

    /// The same, which brings plugins to the node in another way.
    #[must_use]
    pub fn entering(self, entry: Entry) -> Self {
        Self { entry, ..self }
    }

    /// `ADD`: the result of the last plugin, which is remembered.
    ///
    /// # Errors
    /// With what the plugin said that failed. The attachment then has to be deleted, as with every runtime.
    pub fn add(&self, attachment: &Attachment) -> Result<String, CniError> {
        let results = self.add_each(attachment)?;
        results.last().cloned().ok_or_else(|| CniError::Configuration("no plugins".to_owned()))
    }

    /// As [`Runtime::add`]: the result of each plugin.
    ///
    /// # Errors
    /// As there.
    pub fn add_each(&self, attachment: &Attachment) -> Result<Vec<String>, CniError> {
        Ok(self.add_timed(attachment)?.into_iter().map(|(result, _)| result).collect())
    }

    /// As [`Runtime::add`]: the result of each plugin, and how long it took, its start included.
    ///
    /// # Errors
    /// As there.
    pub fn add_timed(&self, attachment: &Attachment) -> Result<Vec<(String, Duration)>, CniError> {
        let mut results: Vec<(String, Duration)> = Vec::new();
        for plugin in self.plugins()? {
            let previous = results.last().map(|(result, _)| result.as_str());
            let started = Instant::now();
            let result = self.call("ADD", plugin, Some(attachment), previous, None)?;
            results.push((result, started.elapsed()));
        }
        self.remembered().extend(results.last().map(|(result, _)| (attachment.key(), result.clone())));
        Ok(results)
    }

    /// `CHECK`, of all plugins.
    ///
    /// # Errors
    /// With what the plugin said that failed.
    pub fn check(&self, attachment: &Attachment) -> Result<(), CniError> {
        let result = self.result(attachment);
        self.plugins()?.into_iter().try_for_each(|plugin| {
            self.call("CHECK", plugin, Some(attachment), result.as_deref(), None).map(drop)
        })
    }

    /// `DEL`, of all plugins from the last to the first; what is remembered is forgotten.
    ///
    /// # Errors
    /// With what the plugin said that failed.
    pub fn del(&self, attachment: &Attachment) -> Result<(), CniError> {
        let result = self.result(attachment);
        for plugin in self.plugins()?.into_iter().rev() {
            self.call("DEL", plugin, Some(attachment), result.as_deref(), None)?;
        }
        self.remembered().remove(&attachment.key());
        Ok(())
    }

    /// `GC`: only these attachments stay. All plugins are called.
    ///
    /// # Errors
    /// With what the first plugin said that failed.
    pub fn gc(&self, stay: &[Attachment]) -> Result<(), CniError> {
        let stay: Vec<Value> =
            stay.iter().map(|it| json!({ "containerID": it.container, "ifname": it.interface })).collect();
        let stay = json!(stay);
        let calls = self
            .plugins()?
            .into_iter()
            .map(|plugin| self.call("GC", plugin, None, None, Some(&stay)).map(drop));
        // All of them are called, whatever becomes of the others.
        calls.collect::<Vec<_>>().into_iter().collect()
    }

    /// `STATUS`, of all plugins.
    ///
    /// # Errors
    /// With what the plugin said that failed.
    pub fn status(&self) -> Result<(), CniError> {
        let mut plugins = self.plugins()?.into_iter();
        plugins.try_for_each(|plugin| self.call("STATUS", plugin, None, None, None).map(drop))
    }

    /// `VERSION` of one plugin: what it says.
    ///
    /// # Errors
    /// With what it said if it failed.
    pub fn version(&self, plugin: &str) -> Result<String, CniError> {
        self.call("VERSION", json!({ "type": plugin }).as_object().unwrap_or(&Map::new()), None, None, None)
    }

    /// What is remembered of an attachment.
    #[must_use]
    pub fn result(&self, attachment: &Attachment) -> Option<String> {
        self.remembered().get(&attachment.key()).cloned()
    }

    fn remembered(&self) -> MutexGuard<'_, BTreeMap<(String, String), String>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plugins(&self) -> Result<Vec<&Map<String, Value>>, CniError> {
        let plugins = self.list.get("plugins").and_then(Value::as_array);
        let plugins = plugins.map(|all| all.iter().filter_map(Value::as_object).collect());
        plugins.ok_or_else(|| CniError::Configuration("no plugins".to_owned()))
    }

    fn call(
        &self,
        command: &'static str,
        plugin: &Map<String, Value>,
        attachment: Option<&Attachment>,
        previous: Option<&str>,
        stay: Option<&Value>,
    ) -> Result<String, CniError> {
        let name = plugin.get("type").and_then(Value::as_str).unwrap_or_default();
        let program = self.find(name)?;
        let input = self.input(plugin, previous, stay);
        let mut process = match self.entry {
            Entry::Network => Command::new(&program),
            Entry::NetworkAndSys => {
                let mut ip = Command::new("ip");
                ip.args(["netns", "exec", self.node.system_name()]).arg(&program);
                ip
            }
        };
        process.env_clear().env("CNI_COMMAND", command).env("CNI_PATH", self.search_path());
        process.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        if let Some(Attachment { container, namespace, interface, args }) = attachment {
            process.env("CNI_CONTAINERID", container).env("CNI_IFNAME", interface).env("CNI_ARGS", args);
            process.env("CNI_NETNS", namespace);
        }
        let output = match self.entry {
            Entry::Network => self.node.enter(move || feed(&mut process, &input))?,
            Entry::NetworkAndSys => feed(&mut process, &input),
        };
        let output = output.map_err(|source| CniError::Start { plugin: name.to_owned(), source })?;
        let said = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        if output.status.success() {
            return Ok(said);
        }
        let error: Value = serde_json::from_str(&said).unwrap_or_default();
        let code = error.get("code").and_then(Value::as_u64).unwrap_or_default();
        let said = format!("{said} {}", String::from_utf8_lossy(&output.stderr));
        Err(CniError::Failed { plugin: name.to_owned(), command, code, said })
    }

    /// What a plugin reads, with the previous result as that plugin wrote it.
    fn input(&self, plugin: &Map<String, Value>, previous: Option<&str>, stay: Option<&Value>) -> String {
        let mut config = plugin.clone();
        // Not for plugins, says the specification.
        config.remove("capabilities");
        for key in ["name", "cniVersion"] {
            config.extend(self.list.get(key).map(|value| (key.to_owned(), value.clone())));
        }
        config.extend(stay.map(|stay| ("cni.dev/valid-attachments".to_owned(), stay.clone())));
        let mut text = Value::from(config).to_string();
        if let Some(previous) = previous {
            // As text, so that the plugin gets it byte for byte.
            text.truncate(text.len() - 1);
            text.push_str(&format!(",\"prevResult\":{previous}}}"));
        }
        text
    }

    fn find(&self, name: &str) -> Result<PathBuf, CniError> {
        let found = self.path.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        found.ok_or_else(|| CniError::Configuration(format!("no plugin {name:?} in {:?}", self.path)))
    }

    fn search_path(&self) -> OsString {
        std::env::join_paths(&self.path).unwrap_or_default()
    }
}
