//! One manifest: documents and lists flattened to objects, other kinds noted.

use std::collections::BTreeMap;
use std::sync::Arc;

use flock_compiler_core::object::Service;
use flock_shared::ObjectKey;
use ipnet::IpNet;
use serde_json::Value;

use super::document::{SyntaxError, documents};
use super::error::{ManifestError, ObjectError};
use crate::{ClusterObject, ConvertError, Converted, Converter, StandIn, describe};

/// The objects of one manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// In order of the manifest.
    pub objects: Vec<ClusterObject>,
    /// What stands for the pods of workloads, in order of the manifest.
    pub stand_ins: Vec<StandIn>,
    /// Services, in order of the manifest.
    pub services: Vec<(ObjectKey, Service)>,
    /// The blocks that Services have their addresses from, in order of the manifest.
    pub service_cidrs: Vec<IpNet>,
    /// What was ignored, a line for each kind, such as `Service shop/api ignored`.
    pub notes: Vec<String>,
    /// What was ignored and makes pods, such as `Deployment shop/api`: the first of each kind, and how many there are.
    pub workloads: Vec<(String, usize)>,
}

/// Parses one manifest of the converter's origin.
///
/// # Errors
/// If it is empty or malformed, or if any of its objects cannot be used; then all of those are told.
pub fn parse(bytes: &[u8], converter: &Converter) -> Result<Parsed, ManifestError> {
    let origin = converter.origin();
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ManifestError::Empty { origin: Arc::clone(origin) });
    }
    let documents = documents(bytes).map_err(|SyntaxError { line, column, message }| {
        ManifestError::Syntax { origin: Arc::clone(origin), line, column, message }
    })?;
    let mut reader =
        Reader { converter, parsed: Parsed::default(), ignored: BTreeMap::new(), errors: Vec::new() };
    let several = documents.len() > 1;
    for (index, document) in documents.into_iter().enumerate() {
        let place = if several { format!("document {}", index + 1) } else { String::new() };
        reader.read(document, &place);
    }
    reader.finish()
}

/// What the manifest has come to so far.
struct Reader<'a> {
    converter: &'a Converter,
    parsed: Parsed,
    /// Ignored objects by `apiVersion` and kind: how many, and the first one's title.
    ignored: BTreeMap<(String, String), (usize, String)>,
    errors: Vec<ObjectError>,
}

impl Reader<'_> {
    /// Reads an object or a list. Consumes the value, so that a large listing is freed while it is read.
    fn read(&mut self, mut value: Value, place: &str) {
        if let Some((api_version, kind)) = list_of(&value) {
            let items = value.get_mut("items").map(Value::take).unwrap_or_default();
            return self.read_items(items, &api_version, kind.as_deref(), place);
        }
        match self.converter.object(&value) {
            Ok(Converted::Object(object)) => self.parsed.objects.push(object),
            Ok(Converted::StandIn(stand_in)) => self.parsed.stand_ins.push(stand_in),
            Ok(Converted::Service(key, service)) => self.parsed.services.push((key, service)),
            Ok(Converted::ServiceCidrs(cidrs)) => self.parsed.service_cidrs.extend(cidrs),
            Ok(Converted::Unknown { api_version, kind, title }) => {
                self.ignored.entry((api_version, kind)).or_insert((0, title)).0 += 1;
            }
            Err(error) => self.errors.push(ObjectError { place: place.to_owned(), error }),
        }
    }

    /// Reads the items of a list. Those of a typed list (`PodList`) may leave `apiVersion` and `kind` to it.
    fn read_items(&mut self, items: Value, api_version: &str, kind: Option<&str>, place: &str) {
        let items = match items {
            Value::Array(items) => items,
            Value::Null => return,
            items => {
                let error = ConvertError::NotAnObject {
                    origin: Arc::clone(self.converter.origin()),
                    field: Some("items".to_owned()),
                    message: format!("found {}; expected a list", describe(&items)),
                };
                return self.errors.push(ObjectError { place: place.to_owned(), error });
            }
        };
        for (index, mut item) in items.into_iter().enumerate() {
            if let (Some(kind), Some(object)) = (kind, item.as_object_mut()) {
                object.entry("kind").or_insert_with(|| kind.into());
                object.entry("apiVersion").or_insert_with(|| api_version.into());
            }
            // Lists may hold lists: how deep is bounded where the manifest is parsed.
            let separator = if place.is_empty() { "" } else { ", " };
            self.read(item, &format!("{place}{separator}item {}", index + 1));
        }
    }

    fn finish(mut self) -> Result<Parsed, ManifestError> {
        if !self.errors.is_empty() {
            return Err(ManifestError::Objects {
                origin: Arc::clone(self.converter.origin()),
                errors: self.errors,
            });
        }
        let workloads = self.ignored.iter().filter(|((version, kind), _)| makes_pods(version, kind));
        self.parsed.workloads = workloads.map(|(_, (count, first))| (first.clone(), *count)).collect();
        self.parsed.notes = self
            .ignored
            .into_iter()
            .map(|((api_version, _), (count, first))| match count {
                1 => format!("{first} ({api_version}) ignored"),
                _ => format!("{first} ({api_version}) and {} more of its kind ignored", count - 1),
            })
            .collect();
        Ok(self.parsed)
    }
}

/// Returns true if objects of a kind are no pods and make some.
fn makes_pods(api_version: &str, kind: &str) -> bool {
    match api_version.split_once('/').map_or("", |(group, _)| group) {
        "apps" => matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet"),
        "batch" => matches!(kind, "Job" | "CronJob"),
        "" => kind == "ReplicationController",
        _ => false,
    }
}

/// The `apiVersion` of a list and, of a typed list, the kind of its items. A `List` of any kinds has none.
fn list_of(value: &Value) -> Option<(String, Option<String>)> {
    let kind = value.get("kind")?.as_str()?.strip_suffix("List")?;
    // A kind may end with List and yet be no list.
    value.get("items")?;
    let api_version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some((api_version, (!kind.is_empty()).then(|| kind.to_owned())))
}
