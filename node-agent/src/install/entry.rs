//! The plugin's part of a configuration list.

use std::path::PathBuf;
use std::time::Duration;

use flock_shared::cni::PLUGIN;
use serde_json::{Map, Value, json};

/// What to do with a pod that could not be made known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnTimeout {
    /// It starts as it would without the plugin.
    Continue,
    /// It does not start; the kubelet tries again.
    Fail,
}

/// What the plugin is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginEntry {
    /// Where the agent listens, on the host.
    pub socket: PathBuf,
    /// How long it waits.
    pub timeout: Duration,
    /// What to do with a pod that could not be made known.
    pub on_timeout: OnTimeout,
    /// Where it writes down calls, on the host.
    pub log: Option<PathBuf>,
}

impl PluginEntry {
    /// As it stands in a list, on one line.
    #[must_use]
    pub fn text(&self) -> String {
        let on_timeout = match self.on_timeout {
            OnTimeout::Continue => "continue",
            OnTimeout::Fail => "fail",
        };
        let milliseconds = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        let mut members = vec![
            ("type", json!(PLUGIN)),
            ("socket", json!(self.socket.to_string_lossy())),
            ("timeoutMs", json!(milliseconds)),
            ("onTimeout", json!(on_timeout)),
        ];
        members.extend(self.log.as_ref().map(|log| ("log", json!(log.to_string_lossy()))));
        let members: Vec<String> =
            members.into_iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        format!("{{{}}}", members.join(", "))
    }
}

/// Returns true if a part of a list is the plugin's, whatever it is told there.
#[must_use]
pub fn is_ours(plugin: &Map<String, Value>) -> bool {
    plugin.get("type").and_then(Value::as_str) == Some(PLUGIN)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry() -> PluginEntry {
        PluginEntry {
            socket: "/run/flock/cni.sock".into(),
            timeout: Duration::from_secs(2),
            on_timeout: OnTimeout::Continue,
            log: None,
        }
    }

    #[test]
    fn an_entry_is_json_that_is_ours() {
        let entry =
            PluginEntry { log: Some("/var/log/a \"b\"".into()), on_timeout: OnTimeout::Fail, ..entry() };
        let expected = r#"{"type": "flock-cni", "socket": "/run/flock/cni.sock", "timeoutMs": 2000, "onTimeout": "fail", "log": "/var/log/a \"b\""}"#;
        assert_eq!(entry.text(), expected);
        let read: Value = serde_json::from_str(&entry.text()).unwrap();
        assert!(is_ours(read.as_object().unwrap()));
        assert!(!is_ours(json!({"type": "flock-cni2"}).as_object().unwrap()));
    }
}
