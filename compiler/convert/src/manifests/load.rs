//! Manifests read once: for `render`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use flock_compiler_core::Change;
use flock_compiler_core::object::Service;
use flock_shared::ObjectKey;
use ipnet::IpNet;

use super::error::ManifestError;
use super::files;
use super::objects::{Merged, Objects, merge};
use super::parse::{Parsed, parse};
use crate::{Converter, HostInterfaces, Workloads};

/// The origin of what is read from standard input.
const STDIN: &str = "<stdin>";

/// How manifests are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Where the interface names of pods come from.
    pub interfaces: HostInterfaces,
    /// What becomes of workloads and Services.
    pub workloads: Workloads,
}

impl ReadOptions {
    fn converter(&self, origin: &Arc<str>) -> Converter {
        Converter::new(Arc::clone(origin), self.interfaces.clone()).with_workloads(self.workloads)
    }
}

impl From<HostInterfaces> for ReadOptions {
    /// As a compiler reads them.
    fn from(interfaces: HostInterfaces) -> Self {
        Self { interfaces, workloads: Workloads::Ignored }
    }
}

/// Manifests as they were read, with everything that is wrong with them.
#[derive(Debug, Default)]
pub struct Manifests {
    /// The objects of those manifests that could be used, and the pods that stand for workloads.
    pub objects: Objects,
    /// Services; none where they are ignored.
    pub services: BTreeMap<ObjectKey, Service>,
    /// The blocks that Services have their addresses from; none where they are ignored.
    pub service_cidrs: Vec<IpNet>,
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
    pub fn load(path: &Path, options: &ReadOptions) -> Self {
        if path == Path::new("-") {
            return Self::of([(STDIN.into(), read_one(&STDIN.into(), io::stdin().lock(), options))]);
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
                    Ok(file) => read_one(&origin, file, options),
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
        options: &ReadOptions,
    ) -> Self {
        Self::of(manifests.into_iter().map(|(origin, bytes)| {
            let origin = origin.into();
            let parsed = parse(bytes, &options.converter(&origin));
            (origin, parsed)
        }))
    }

    /// Whole listings of every kind, for a world that knows nothing yet.
    #[must_use]
    pub fn listings(&self) -> Vec<Change> {
        self.objects.listings()
    }

    fn of(manifests: impl IntoIterator<Item = (Arc<str>, Result<Parsed, ManifestError>)>) -> Self {
        let (mut notes, mut workloads, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        let mut files: Vec<(Arc<str>, Parsed)> = Vec::new();
        for (origin, parsed) in manifests {
            match parsed {
                Ok(mut parsed) => {
                    notes.extend(parsed.notes.iter().map(|note| format!("{origin}: {note}")));
                    let title = |(first, count)| (format!("{origin}: {first}"), count);
                    workloads.extend(std::mem::take(&mut parsed.workloads).into_iter().map(title));
                    files.push((origin, parsed));
                }
                Err(error) => errors.push(error),
            }
        }
        let merged = merge(files.iter().map(|(origin, parsed)| (origin, parsed)));
        notes.extend(merged.assumed_notes());
        errors.extend(merged.ambiguous);
        let Merged { objects, origins, services, service_cidrs, .. } = merged;
        Self { objects, services, service_cidrs, origins, notes, workloads, errors }
    }
}

fn read_one(
    origin: &Arc<str>,
    reader: impl io::Read,
    options: &ReadOptions,
) -> Result<Parsed, ManifestError> {
    let converter = options.converter(origin);
    let origin = Arc::clone(origin);
    match files::read(reader) {
        Ok(Some(bytes)) => parse(&bytes, &converter),
        Ok(None) => Err(ManifestError::TooLarge { origin, limit: files::LIMIT }),
        Err(source) => Err(ManifestError::Unreadable { origin, source }),
    }
}
