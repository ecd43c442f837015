//! A configuration list with the plugin and without it: text in, text out, everything else as it was.

use std::ops::Range;

use flock_shared::cni::VERSIONS;
use flock_shared::json;
use serde_json::{Map, Value};

use super::entry::{PluginEntry, is_ours};

/// Plugins that hand a call on to the configuration of another file, by which they find the pod's network: the plugin
/// belongs into that one.
const DELEGATING: [&str; 2] = ["multus", "multus-shim"];

/// Why a text is left alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is no JSON, or not of its form.
    #[error("it is no configuration that can be read: {0}")]
    Unreadable(String),
    /// It is of a version of the specification that the plugin does not speak.
    #[error("it is of version {found} of the CNI specification; the plugin speaks {}", VERSIONS.join(", "))]
    Version {
        /// Which.
        found: String,
    },
    /// No plugin comes before.
    #[error("it names no plugin that gives a pod its network")]
    Empty,
    /// Its plugin hands on to the configuration of another file.
    #[error("its plugin {0} takes the network of pods from another file, which --conf-file has to name")]
    Delegating(String),
}

/// A configuration list, taken apart.
#[derive(Debug, Clone)]
pub struct List<'a> {
    text: &'a str,
    plugins: Vec<Plugin>,
    /// The name of the network.
    pub name: String,
}

#[derive(Debug, Clone)]
struct Plugin {
    place: Range<usize>,
    value: Map<String, Value>,
}

impl<'a> List<'a> {
    /// Takes a list apart.
    ///
    /// # Errors
    /// When it is none, or none that the plugin can be part of.
    pub fn read(text: &'a str) -> Result<Self, Unusable> {
        let top = object(text)?;
        let name = network(&top)?;
        check_version(&top)?;
        let array = json::member(text, "plugins").ok_or_else(|| unreadable("no plugins"))?;
        let part = text.get(array.clone()).unwrap_or_default();
        let places = json::elements(part).ok_or_else(|| unreadable("plugins is no array"))?;
        let mut plugins = Vec::new();
        for place in places {
            let place = array.start + place.start..array.start + place.end;
            let value = object(text.get(place.clone()).unwrap_or_default())?;
            if !value.get("type").is_some_and(Value::is_string) {
                return Err(unreadable("a plugin without a type"));
            }
            plugins.push(Plugin { place, value });
        }
        Ok(Self { text, plugins, name })
    }

    /// Returns true if the plugin is part of it.
    #[must_use]
    pub fn has_ours(&self) -> bool {
        self.plugins.iter().any(|plugin| is_ours(&plugin.value))
    }

    /// The text with the plugin after all others; nothing where it is part of the list as it should be. Where others have
    /// put themselves behind it, it stays: they would do so again.
    ///
    /// # Errors
    /// When there is nothing for it to come after.
    pub fn with(&self, entry: &PluginEntry) -> Result<Option<String>, Unusable> {
        let first = self.plugins.iter().find(|plugin| !is_ours(&plugin.value)).ok_or(Unusable::Empty)?;
        check_delegation(&first.value)?;
        let ours: Vec<usize> = self.places_of_ours();
        let wanted = object(&entry.text())?;
        // Not in front: there it would run before the pod has a network.
        if let [place] = ours[..]
            && place > 0
            && self.plugins.get(place).is_some_and(|plugin| plugin.value == wanted)
        {
            return Ok(None);
        }
        let bare = self.without();
        let bare = bare.as_deref().unwrap_or(self.text);
        let list = List::read(bare)?;
        let (Some(first), Some(last)) = (list.plugins.first(), list.plugins.last()) else {
            return Err(Unusable::Empty);
        };
        // As far from the one before it as that is from what it follows.
        let before = bare.get(..first.place.start).unwrap_or_default();
        let space = before.get(before.trim_end().len()..).unwrap_or_default();
        let mut edited = bare.to_owned();
        edited.insert_str(last.place.end, &format!(",{space}{}", entry.text()));
        Ok(Some(edited))
    }

    /// The text without the plugin; nothing where it is not part of it.
    #[must_use]
    pub fn without(&self) -> Option<String> {
        let ours = self.places_of_ours();
        let mut edited = self.text.to_owned();
        // From behind, so that places before stay what they are.
        for place in ours.iter().rev() {
            let own = self.plugins.get(*place)?.place.clone();
            let before = place.checked_sub(1).and_then(|before| self.plugins.get(before));
            let cut = match (before, self.plugins.get(place + 1)) {
                (Some(before), _) => before.place.end..own.end,
                (None, Some(after)) => own.start..after.place.start,
                (None, None) => own,
            };
            edited.replace_range(cut, "");
        }
        (!ours.is_empty()).then_some(edited)
    }

    fn places_of_ours(&self) -> Vec<usize> {
        let plugins = self.plugins.iter().enumerate();
        plugins.filter(|(_, plugin)| is_ours(&plugin.value)).map(|(place, _)| place).collect()
    }
}

/// A list of a single plugin's configuration and ours, as runtimes make a list of one.
///
/// # Errors
/// When it is no such configuration, or none that the plugin can come after.
pub fn of_single(text: &str, entry: &PluginEntry) -> Result<String, Unusable> {
    let value = object(text)?;
    let name = single(&value)?;
    check_delegation(&value)?;
    let version = value.get("cniVersion").and_then(Value::as_str).unwrap_or_default();
    let (version, name) = (Value::from(version), Value::from(name));
    let plugin = text.trim();
    let own = entry.text();
    Ok(format!(
        "{{\n  \"cniVersion\": {version},\n  \"name\": {name},\n  \"plugins\": [\n{plugin},\n{own}\n  ]\n}}\n"
    ))
}

/// The name of the network of a single plugin's configuration.
///
/// # Errors
/// When it is none.
pub fn name_of_single(text: &str) -> Result<String, Unusable> {
    single(&object(text)?)
}

fn single(value: &Map<String, Value>) -> Result<String, Unusable> {
    if !value.get("type").is_some_and(Value::is_string) {
        return Err(unreadable("no type"));
    }
    let name = network(value)?;
    check_version(value)?;
    Ok(name)
}

fn object(text: &str) -> Result<Map<String, Value>, Unusable> {
    serde_json::from_str(text).map_err(|error| Unusable::Unreadable(error.to_string()))
}

fn network(top: &Map<String, Value>) -> Result<String, Unusable> {
    let name = top.get("name").and_then(Value::as_str);
    name.filter(|name| !name.is_empty()).map(str::to_owned).ok_or_else(|| unreadable("no name"))
}

fn unreadable(what: &str) -> Unusable {
    Unusable::Unreadable(what.to_owned())
}

/// The runtime takes the highest version that it knows itself, of whichever it is offered: all of them have to do, but for
/// those that are lower than one that it surely knows.
fn check_version(top: &Map<String, Value>) -> Result<(), Unusable> {
    let offered = top.get("cniVersions").and_then(Value::as_array).into_iter().flatten();
    let mut newer = offered.filter_map(Value::as_str).filter(|version| !is_older(version));
    let only = top.get("cniVersion").map_or(Some("0.1.0"), Value::as_str).unwrap_or("none");
    match std::iter::once(only).chain(&mut newer).find(|version| !VERSIONS.contains(version)) {
        Some(version) => Err(Unusable::Version { found: version.chars().take(32).collect() }),
        None => Ok(()),
    }
}

fn is_older(version: &str) -> bool {
    ["0.1.0", "0.2.0", "0.3.0"].contains(&version)
}

fn check_delegation(first: &Map<String, Value>) -> Result<(), Unusable> {
    let kind = first.get("type").and_then(Value::as_str).unwrap_or_default();
    if DELEGATING.contains(&kind) { Err(Unusable::Delegating(kind.to_owned())) } else { Ok(()) }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
