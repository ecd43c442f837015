//! The plugin's configuration, as the runtime hands it over on standard input.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flock_shared::cni::{LONGEST_TIMEOUT_MS, NetworkName, SOCKET, TIMEOUT_MS, VERSIONS};
use flock_shared::json;
use serde::Deserialize;
use serde_json::Value;

use crate::failure::{Code, Failure};

/// The longest path of a Unix socket, in bytes.
const LONGEST_SOCKET: usize = 107;

/// What to do with a pod that could not be made known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTimeout {
    /// It starts as it would without the plugin.
    Continue,
    /// It does not start; the kubelet tries again.
    Fail,
}

/// The configuration of one call, its text not yet judged.
#[derive(Debug)]
pub struct Config<'a> {
    /// The version of the specification that the call is of.
    pub version: &'static str,
    /// The network, unless its name is none that the specification allows.
    pub network: Option<NetworkName>,
    /// What the plugins before this one came to, as the runtime wrote it.
    pub previous: Option<&'a str>,
    /// For `GC`: the attachments that stay.
    pub attachments: Option<Vec<Attachment>>,
    /// What an administrator says of the plugin, or what is wrong with it.
    pub settings: Result<Settings, Failure>,
}

/// What an administrator may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the agent listens.
    pub socket: PathBuf,
    /// How long to wait for it.
    pub timeout: Duration,
    /// What to do with a pod that could not be made known.
    pub on_timeout: OnTimeout,
    /// Where calls are written down.
    pub log: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: SOCKET.into(),
            timeout: Duration::from_millis(TIMEOUT_MS.into()),
            on_timeout: OnTimeout::Continue,
            log: None,
        }
    }
}

/// An attachment that stays.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Attachment {
    /// Its `CNI_CONTAINERID`.
    #[serde(rename = "containerID")]
    pub container: String,
    /// Its `CNI_IFNAME`.
    #[serde(default)]
    pub ifname: String,
}

/// All that is read of a configuration. What an administrator says is judged apart, by a call that depends on it.
#[derive(Deserialize)]
struct WireConfig {
    #[serde(rename = "cniVersion", default)]
    version: String,
    #[serde(default)]
    name: String,
    #[serde(rename = "cni.dev/valid-attachments")]
    valid: Option<Vec<Attachment>>,
    // What runtimes call it that are older than a correction of the specification.
    #[serde(rename = "cni.dev/attachments")]
    attachments: Option<Vec<Attachment>>,
    socket: Option<Value>,
    #[serde(rename = "timeoutMs")]
    timeout: Option<Value>,
    #[serde(rename = "onTimeout")]
    on_timeout: Option<Value>,
    log: Option<Value>,
}

impl<'a> Config<'a> {
    /// Reads a configuration.
    ///
    /// # Errors
    /// When it is no configuration, or one of another version of the specification.
    pub fn read(text: &'a [u8]) -> Result<Self, Failure> {
        let undecodable = |error: String| {
            Failure::new(Code::Decoding, "the network configuration cannot be decoded", error)
        };
        let text = str::from_utf8(text).map_err(|error| undecodable(error.to_string()))?;
        let wire: WireConfig = serde_json::from_str(text).map_err(|error| undecodable(error.to_string()))?;
        let version = supported(&wire.version)?;
        if wire.name.is_empty() {
            return Err(wrong("name: missing".to_owned()));
        }
        // As text, not as JSON that was parsed and printed: the runtime gets back the bytes that it gave.
        let previous = json::member(text, "prevResult").and_then(|place| text.get(place));
        Ok(Self {
            version,
            network: NetworkName::new(&wire.name).ok(),
            previous: previous.filter(|raw| *raw != "null"),
            settings: wire.settings(),
            attachments: wire.valid.or(wire.attachments),
        })
    }
}

/// The version of the specification by its name. A configuration that names none is of 0.1.0.
fn supported(version: &str) -> Result<&'static str, Failure> {
    VERSIONS.into_iter().find(|known| *known == version).ok_or_else(|| {
        let found = if version.is_empty() { "0.1.0" } else { version };
        // Somebody else's words, which may be of any length.
        let found: String = found.chars().take(32).collect();
        let details =
            format!("the configuration is of {found:?}, the plugin supports {}", VERSIONS.join(", "));
        Failure::new(Code::IncompatibleVersion, "incompatible CNI versions", details)
    })
}

impl WireConfig {
    fn settings(&self) -> Result<Settings, Failure> {
        let mut settings = Settings::default();
        if let Some(raw) = &self.socket {
            settings.socket = path("socket", raw)?;
            if settings.socket.as_os_str().len() > LONGEST_SOCKET {
                return Err(found("socket", raw, &format!("a path of at most {LONGEST_SOCKET} bytes")));
            }
        }
        if let Some(raw) = &self.timeout {
            let milliseconds = raw.as_u64().and_then(|number| u32::try_from(number).ok());
            let milliseconds = milliseconds.filter(|number| (1..=LONGEST_TIMEOUT_MS).contains(number));
            let expected = || found("timeoutMs", raw, &format!("a number from 1 to {LONGEST_TIMEOUT_MS}"));
            settings.timeout = Duration::from_millis(milliseconds.ok_or_else(expected)?.into());
        }
        if let Some(raw) = &self.on_timeout {
            settings.on_timeout = match raw.as_str() {
                Some("continue") => OnTimeout::Continue,
                Some("fail") => OnTimeout::Fail,
                _ => return Err(found("onTimeout", raw, "\"continue\" or \"fail\"")),
            };
        }
        if let Some(raw) = &self.log {
            settings.log = Some(path("log", raw)?);
        }
        Ok(settings)
    }
}

fn path(key: &str, raw: &Value) -> Result<PathBuf, Failure> {
    raw.as_str()
        .filter(|text| Path::new(text).is_absolute() && !text.contains('\0'))
        .map(PathBuf::from)
        .ok_or_else(|| found(key, raw, "an absolute path"))
}

fn found(key: &str, raw: &Value, expected: &str) -> Failure {
    let value: String = raw.to_string().chars().take(128).collect();
    wrong(format!("{key}: {value}; expected {expected}"))
}

fn wrong(details: String) -> Failure {
    Failure::new(Code::Config, "invalid network configuration", details)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(keys: &str) -> Result<Settings, String> {
        let text = format!(r#"{{"cniVersion":"1.0.0","name":"n","type":"flock-cni"{keys}}}"#);
        Config::read(text.as_bytes()).unwrap().settings.map_err(|failure| failure.details)
    }

    #[test]
    fn keys_have_defaults() {
        assert_eq!(settings(""), Ok(Settings::default()));
        let keys =
            r#","socket":"/a/b","timeoutMs":50,"onTimeout":"fail","log":"/var/log/x","else":{"socket":1}"#;
        let expected = Settings {
            socket: "/a/b".into(),
            timeout: Duration::from_millis(50),
            on_timeout: OnTimeout::Fail,
            log: Some("/var/log/x".into()),
        };
        assert_eq!(settings(keys), Ok(expected));
    }

    #[test]
    fn what_a_key_cannot_be_is_said() {
        let long = format!(r#""/{}""#, "a".repeat(107));
        for (key, value) in [
            ("socket", r#""a""#),
            ("socket", "1"),
            ("socket", long.as_str()),
            ("timeoutMs", "0"),
            ("timeoutMs", "60001"),
            ("timeoutMs", r#""2000""#),
            ("timeoutMs", "-1"),
            ("onTimeout", r#""stop""#),
            ("onTimeout", "true"),
            ("log", r#""log""#),
        ] {
            let error = settings(&format!(r#","{key}":{value}"#)).unwrap_err();
            assert!(error.starts_with(&format!("{key}: ")) && error.contains("expected"), "{error}");
        }
    }

    #[test]
    fn configurations_of_other_versions_and_none_at_all_have_codes() {
        let code = |text: &str| Config::read(text.as_bytes()).map(|_| ()).unwrap_err().code;
        for version in ["0.1.0", "0.3.0", "1.2.0", "x", ""] {
            assert_eq!(
                code(&format!(r#"{{"cniVersion":"{version}","name":"n"}}"#)),
                Code::IncompatibleVersion
            );
        }
        assert_eq!(code(r#"{"name":"n"}"#), Code::IncompatibleVersion);
        assert_eq!(code(r#"{"cniVersion":"1.0.0"}"#), Code::Config);
        for text in ["", "{", "[]", r#"{"cniVersion":1}"#] {
            assert_eq!(code(text), Code::Decoding, "{text}");
        }
    }

    #[test]
    fn attachments_that_stay_have_two_names() {
        let read = |keys: &str| {
            let text = format!(r#"{{"cniVersion":"1.1.0","name":"n"{keys}}}"#);
            let attachments = Config::read(text.as_bytes()).unwrap().attachments;
            attachments.map(|all| all.into_iter().map(|one| one.container).collect::<Vec<_>>())
        };
        let one = r#"[{"containerID":"a","ifname":"eth0"}]"#;
        assert_eq!(read(&format!(r#","cni.dev/valid-attachments":{one}"#)), Some(vec!["a".to_owned()]));
        assert_eq!(read(&format!(r#","cni.dev/attachments":{one}"#)), Some(vec!["a".to_owned()]));
        assert_eq!(read(r#","cni.dev/valid-attachments":[]"#), Some(vec![]));
        assert_eq!(read(r#","cni.dev/valid-attachments":null"#), None);
        assert_eq!(read(""), None);
    }
}
