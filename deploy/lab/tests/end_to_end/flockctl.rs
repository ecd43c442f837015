//! `flockctl` as a process, and what it prints for programs.

use std::process::Output;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::support::programs::{FLOCKCTL, program};

/// A node, as `nodes -o json` prints it, as far as tests read it. What is not known is as if it were not so.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct NodeStatus {
    pub(crate) node: String,
    pub(crate) state: String,
    pub(crate) replica: Option<String>,
    pub(crate) desired_revision: Option<String>,
    pub(crate) applied_revision: Option<String>,
    pub(crate) behind_since: Option<String>,
    #[serde(deserialize_with = "known")]
    pub(crate) current: bool,
    pub(crate) unknown: bool,
    #[serde(deserialize_with = "known")]
    pub(crate) connected: bool,
    #[serde(deserialize_with = "known")]
    pub(crate) agent_version: String,
    #[serde(deserialize_with = "known")]
    pub(crate) nft_version: String,
    pub(crate) last_outcome: Option<String>,
    pub(crate) last_error: Option<String>,
    pub(crate) isolated_pods: u32,
    #[serde(deserialize_with = "known")]
    pub(crate) drifts: u32,
    #[serde(deserialize_with = "known")]
    pub(crate) not_judged: Vec<String>,
    pub(crate) closed: Option<String>,
}

fn known<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A problem, as `problems -o json` prints it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Problem {
    pub(crate) source: String,
    pub(crate) object: String,
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) consequence: String,
}

/// How a compiler is asked.
#[derive(Debug, Clone)]
pub(crate) struct Flockctl {
    url: String,
}

impl Flockctl {
    pub(crate) fn new(url: String) -> Self {
        Self { url }
    }

    /// Of several replicas.
    pub(crate) fn of<'a>(urls: impl IntoIterator<Item = &'a String>) -> Self {
        Self::new(urls.into_iter().cloned().collect::<Vec<_>>().join(","))
    }

    /// Runs it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it would be run as.
    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = program(FLOCKCTL);
        command.args(["--compiler", &self.url]).args(arguments);
        command
    }

    /// What it prints; it must succeed, though nodes may not be current.
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.run(arguments);
        let is_answer = status.success() || status.code() == Some(1) && arguments.contains(&"nodes");
        assert!(is_answer, "{arguments:?}: {status}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    /// What it complains; it must fail with this exit status and print nothing else.
    pub(crate) fn complaint(&self, code: i32, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.run(arguments);
        assert_eq!((status.code(), stdout.len()), (Some(code), 0), "{arguments:?}");
        String::from_utf8(stderr).unwrap()
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> T {
        let text = self.text(&[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    pub(crate) fn yaml<T: DeserializeOwned>(&self, arguments: &[&str]) -> T {
        let text = self.text(&[arguments, &["-o", "yaml"]].concat());
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    pub(crate) fn nodes(&self) -> Vec<NodeStatus> {
        self.json(&["nodes"])
    }

    /// A node that must be listed.
    pub(crate) fn node(&self, name: &str) -> NodeStatus {
        let nodes = self.nodes();
        nodes.iter().find(|node| node.node == name).unwrap_or_else(|| panic!("{name} in {nodes:?}")).clone()
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.json(&["problems"])
    }
}
