//! What a directory of manifests says as it changes: the accepted objects, and the problems of each file.
//!
//! A file counts with its last good objects until it is good again; a deleted one counts no more, unless all are gone:
//! that is more likely a volume that is not mounted. Until every file has been good once there are no objects at all: a
//! partial world is not policy.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flock_compiler_core::{Change, Problem};
use flock_convert::manifests::files::{self, FileStamp, Scan, Stable};
use flock_convert::manifests::{ManifestError, Merged, Objects, Parsed, merge, parse};
use flock_convert::{Converter, HostInterfaces};

use crate::source::SourceEvent;

/// Scans after which a directory that changes all the time is read, as far as it stands still.
const RESTLESS: u32 = 4;

/// A directory of manifests (or one file) and what is known of it.
pub(super) struct Follower {
    path: PathBuf,
    interfaces: HostInterfaces,
    files: BTreeMap<PathBuf, FileState>,
    /// The last scan; `None` before the first.
    scan: Option<Scan>,
    /// Scans in a row that differed from the one before.
    restless: u32,
    /// What was sent last; `None` before every file has been good once.
    sent: Option<Objects>,
    /// Problems by input, as they were reported last.
    reported: BTreeMap<Arc<str>, Vec<Problem>>,
    notes: BTreeSet<String>,
}

/// One manifest.
struct FileState {
    origin: Arc<str>,
    /// What `latest` was read from; `None` for a link that leads nowhere.
    stamp: Option<FileStamp>,
    /// What the file says now.
    latest: Result<Arc<Parsed>, Vec<Problem>>,
    /// What it said when it was last in force.
    accepted: Option<Arc<Parsed>>,
}

impl FileState {
    /// Returns true if what the file says now is what was in force last.
    fn is_in_force(&self) -> bool {
        match (&self.latest, &self.accepted) {
            // What was accepted is a clone of the pointer, so contents need not be compared.
            (Ok(latest), Some(accepted)) => Arc::ptr_eq(latest, accepted),
            _ => false,
        }
    }

    /// What counts of the file; `held` if its latest content is held back.
    fn counting(&self, held: bool) -> Option<&Arc<Parsed>> {
        match &self.latest {
            Ok(latest) if !held => Some(latest),
            _ => self.accepted.as_ref(),
        }
    }
}

impl Follower {
    pub(super) fn new(path: PathBuf, interfaces: HostInterfaces) -> Self {
        Self {
            path,
            interfaces,
            files: BTreeMap::new(),
            scan: None,
            restless: 0,
            sent: None,
            reported: BTreeMap::new(),
            notes: BTreeSet::new(),
        }
    }

    /// Looks at the directory once; what there is to say since the last time.
    ///
    /// # Errors
    /// If the directory could not be listed even once. Later on that is a problem, and what is in force stays so.
    pub(super) fn poll(&mut self) -> io::Result<Vec<SourceEvent>> {
        let scan = match files::list(&self.path) {
            Ok(scan) => scan,
            // A path that was never there is the caller's mistake; one that was may come back.
            Err(error) if self.scan.is_none() => return Err(error),
            Err(source) => {
                return Ok(self.keep(&ManifestError::Unreadable { origin: self.origin(), source }));
            }
        };
        // Several files often change together, and a file is seldom written at once: wait until nothing moves.
        let previous = self.scan.replace(scan.clone());
        let is_settled = previous.as_ref() == Some(&scan);
        self.restless = if is_settled { 0 } else { self.restless + 1 };
        if !is_settled && self.restless < RESTLESS {
            return Ok(Vec::new());
        }
        self.restless = 0;
        // All files gone at once: a volume that is not mounted is likelier than a cluster without anything.
        if scan.is_empty() && self.sent.is_some() {
            return Ok(self.keep(&ManifestError::NoManifests { origin: self.origin() }));
        }
        let has_changed = self.read_changed(&previous.unwrap_or_default(), &scan);
        // What was reported of the folder itself is taken back by settling.
        let was_away = self.reported.contains_key(&self.origin());
        let is_first = self.sent.is_none() && self.reported.is_empty();
        if has_changed || was_away || is_first { Ok(self.settle(&scan)) } else { Ok(Vec::new()) }
    }

    /// Reads the files whose stamps differ and forgets those that are gone, if the last two scans agree on them.
    /// Returns true if there were any.
    fn read_changed(&mut self, previous: &Scan, scan: &Scan) -> bool {
        let before = self.files.len();
        // Missing twice is gone: a file that is being replaced may be away for a moment.
        self.files.retain(|path, _| scan.contains_key(path) || previous.contains_key(path));
        let mut changed = self.files.len() != before;
        for (path, stamp) in scan {
            let is_known = self.files.get(path).is_some_and(|file| file.stamp == *stamp);
            // Read already as it is; or new, or still being written, and then it is read once it has rested.
            if is_known || previous.get(path) != Some(stamp) {
                continue;
            }
            let origin: Arc<str> = path.to_string_lossy().into();
            let converter = Converter::new(Arc::clone(&origin), self.interfaces.clone());
            let Some(latest) = read(path, *stamp, &converter) else { continue };
            let latest = latest.map(Arc::new).map_err(|error| error.problems());
            // What was in force of it stays so until the new content is accepted.
            let accepted = self.files.remove(path).and_then(|file| file.accepted);
            self.files.insert(path.clone(), FileState { origin, stamp: *stamp, latest, accepted });
            changed = true;
        }
        changed
    }

    /// Decides what counts now, and says what that changes.
    fn settle(&mut self, scan: &Scan) -> Vec<SourceEvent> {
        let (merged, held, mut problems) = self.choose();
        if scan.is_empty() {
            problems.insert(self.origin(), ManifestError::NoManifests { origin: self.origin() }.problems());
        }
        // Problems are told also while nothing is in force yet: they are why.
        let mut events = self.report(problems);
        // A file that has not been read yet is in the scan only, and may hold any policy.
        let is_complete = held.is_empty() && !scan.is_empty() && scan.len() == self.files.len();
        if self.sent.is_none() && !is_complete {
            return events;
        }
        for (path, file) in &mut self.files {
            if let (false, Ok(latest)) = (held.contains(path), &file.latest) {
                file.accepted = Some(Arc::clone(latest));
            }
        }
        self.note(&merged);
        let changes: Vec<Change> = match &self.sent {
            None => merged.objects.listings(),
            Some(sent) => merged.objects.edits_since(sent),
        };
        self.sent = Some(merged.objects);
        if !changes.is_empty() {
            events.push(SourceEvent::from(changes));
        }
        events
    }

    /// Merges what counts of each file. New content that contradicts another file is held back, as bad content is;
    /// what was in force together does not contradict itself, so this ends.
    fn choose(&self) -> (Merged, BTreeSet<PathBuf>, BTreeMap<Arc<str>, Vec<Problem>>) {
        let mut problems: BTreeMap<Arc<str>, Vec<Problem>> = BTreeMap::new();
        let mut held = BTreeSet::new();
        for (path, file) in &self.files {
            if let Err(found) = &file.latest {
                held.insert(path.clone());
                problems.insert(Arc::clone(&file.origin), found.clone());
            }
        }
        loop {
            let counting = self.files.iter().filter_map(|(path, file)| {
                let parsed = file.counting(held.contains(path))?;
                Some((&file.origin, &**parsed))
            });
            let merged = merge(counting);
            let contradicting: Vec<(&PathBuf, &FileState)> = self
                .files
                .iter()
                .filter(|(path, file)| !held.contains(*path) && !file.is_in_force())
                .collect();
            let mut newly_held = BTreeSet::new();
            for contradiction in &merged.ambiguous {
                for (path, file) in &contradicting {
                    if let Some(problem) = contradiction.contradiction_of(&file.origin) {
                        newly_held.insert(PathBuf::clone(path));
                        problems.entry(Arc::clone(&file.origin)).or_default().push(problem);
                    }
                }
            }
            if newly_held.is_empty() {
                return (merged, held, problems);
            }
            // What is held now may leave others contradicting each other. It only grows, so this ends.
            held.extend(newly_held);
        }
    }

    /// Keeps all that is known of the files while the directory has something wrong with it.
    fn keep(&mut self, error: &ManifestError) -> Vec<SourceEvent> {
        let mut problems = self.reported.clone();
        problems.insert(self.origin(), error.problems());
        self.report(problems)
    }

    fn origin(&self) -> Arc<str> {
        self.path.to_string_lossy().into()
    }

    /// Reports the inputs whose problems are not those that were reported last; the engine logs them.
    fn report(&mut self, problems: BTreeMap<Arc<str>, Vec<Problem>>) -> Vec<SourceEvent> {
        let mut events = Vec::new();
        for input in self.reported.keys().filter(|input| !problems.contains_key(*input)) {
            events.push(SourceEvent::Report { input: Arc::clone(input), problems: Vec::new() });
        }
        for (input, found) in
            problems.iter().filter(|(input, found)| self.reported.get(*input) != Some(*found))
        {
            events.push(SourceEvent::Report { input: Arc::clone(input), problems: found.clone() });
        }
        if self.sent.is_none() && !problems.is_empty() && !events.is_empty() {
            tracing::warn!(
                bad = problems.len(),
                "no policy is in force until every manifest has been good once"
            );
        }
        self.reported = problems;
        events
    }

    /// Logs what is ignored or assumed, each thing once.
    fn note(&mut self, merged: &Merged) {
        let files = self.files.values().filter_map(|file| Some((&file.origin, file.accepted.as_ref()?)));
        let ignored = files
            .flat_map(|(origin, parsed)| parsed.notes.iter().map(move |note| format!("{origin}: {note}")));
        let notes: BTreeSet<String> = ignored.chain(merged.assumed_notes()).collect();
        for note in notes.difference(&self.notes) {
            tracing::info!("{note}");
        }
        self.notes = notes;
    }
}

/// Reads one file; `None` if it changed since it was scanned: the next scan will tell.
fn read(
    path: &Path,
    stamp: Option<FileStamp>,
    converter: &Converter,
) -> Option<Result<Parsed, ManifestError>> {
    let origin = Arc::clone(converter.origin());
    let content = match stamp {
        Some(stamp) => files::read_stable(path, stamp),
        None => Err(io::Error::new(io::ErrorKind::NotFound, "is a link that leads nowhere")),
    };
    match content {
        Ok(Stable::Content(bytes)) => Some(parse(&bytes, converter)),
        Ok(Stable::TooLarge) => Some(Err(ManifestError::TooLarge { origin, limit: files::LIMIT })),
        Ok(Stable::Changed) => None,
        Err(error) if stamp.is_some() && error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => Some(Err(ManifestError::Unreadable { origin, source })),
    }
}
