//! Manifests read once: for `render`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use flock_compiler_core::Change;

use super::error::ManifestError;
use super::files;
use super::objects::{Objects, merge};
use super::parse::{Parsed, parse};
use crate::convert::{ClusterObject, Converter, HostInterfaces};

/// The origin of what is read from standard input.
const STDIN: &str = "<stdin>";

/// Manifests as they were read, with everything that is wrong with them.
#[derive(Debug, Default)]
pub struct Manifests {
    /// The objects of those manifests that could be used.
    pub objects: Objects,
    /// Kind, namespace and name of every object (such as `Pod shop/web`) to the file that it is from. A namespace
    /// that only occurs in other objects has none.
    pub origins: BTreeMap<String, Arc<str>>,
    /// What was ignored or assumed, a line each.
    pub notes: Vec<String>,
    /// What was ignored and makes pods: the first of each kind of each file, and how many there are.
    pub workloads: Vec<(String, usize)>,
    /// All manifests that could not be used, and objects that are there twice.
    pub errors: Vec<ManifestError>,
}

impl Manifests {
    /// Reads a file, the manifests of a directory, or standard input (`-`).
    #[must_use]
    pub fn load(path: &Path, interfaces: &HostInterfaces) -> Self {
        if path == Path::new("-") {
            return Self::of([(STDIN.into(), read_one(&STDIN.into(), io::stdin().lock(), interfaces))]);
        }
        let origin: Arc<str> = path.to_string_lossy().into();
        match files::list(path) {
            Err(source) => {
                Self::of([(Arc::clone(&origin), Err(ManifestError::Unreadable { origin, source }))])
            }
            Ok(files) if files.is_empty() => {
                Self::of([(Arc::clone(&origin), Err(ManifestError::NoManifests { origin }))])
            }
            Ok(files) => Self::of(files.into_keys().map(|path| {
                let origin: Arc<str> = path.to_string_lossy().into();
                let parsed = match std::fs::File::open(&path) {
                    Ok(file) => read_one(&origin, file, interfaces),
                    Err(source) => Err(ManifestError::Unreadable { origin: Arc::clone(&origin), source }),
                };
                (origin, parsed)
            })),
        }
    }

    /// Reads manifests that are in memory, each with its origin.
    #[must_use]
    pub fn from_bytes<'a>(
        manifests: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        interfaces: &HostInterfaces,
    ) -> Self {
        Self::of(manifests.into_iter().map(|(origin, bytes)| {
            let parsed = parse(bytes, &Converter::new(origin, interfaces.clone()));
            (origin.into(), parsed)
        }))
    }

    /// Whole listings of every kind, for a world that knows nothing yet.
    #[must_use]
    pub fn listings(&self) -> Vec<Change> {
        self.objects.listings()
    }

    fn of(manifests: impl IntoIterator<Item = (Arc<str>, Result<Parsed, ManifestError>)>) -> Self {
        let (mut notes, mut workloads, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        let mut files: Vec<(Arc<str>, Vec<ClusterObject>)> = Vec::new();
        for (origin, parsed) in manifests {
            match parsed {
                Ok(parsed) => {
                    notes.extend(parsed.notes.iter().map(|note| format!("{origin}: {note}")));
                    let title = |(first, count)| (format!("{origin}: {first}"), count);
                    workloads.extend(parsed.workloads.into_iter().map(title));
                    files.push((origin, parsed.objects));
                }
                Err(error) => errors.push(error),
            }
        }
        let merged = merge(files.iter().map(|(origin, objects)| (origin, objects.as_slice())));
        notes.extend(merged.assumed_notes());
        errors.extend(merged.ambiguous);
        Self { objects: merged.objects, origins: merged.origins, notes, workloads, errors }
    }
}

fn read_one(
    origin: &Arc<str>,
    reader: impl io::Read,
    interfaces: &HostInterfaces,
) -> Result<Parsed, ManifestError> {
    let origin = Arc::clone(origin);
    match files::read(reader) {
        Ok(Some(bytes)) => parse(&bytes, &Converter::new(origin, interfaces.clone())),
        Ok(None) => Err(ManifestError::TooLarge { origin, limit: files::LIMIT }),
        Err(source) => Err(ManifestError::Unreadable { origin, source }),
    }
}
