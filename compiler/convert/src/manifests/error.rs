//! What can be wrong with a manifest, as an error and as problems for people to mend.

use std::sync::Arc;

use flock_compiler_core::{Consequence, Problem};

use flock_shared::NamespaceName;

use crate::ConvertError;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("{origin}: {source}")]
    Unreadable {
        /// The file or directory.
        origin: Arc<str>,
        /// The cause.
        source: std::io::Error,
    },
    /// It is larger than any cluster's listing.
    #[error("{origin}: has more than {limit} bytes")]
    TooLarge {
        /// The file.
        origin: Arc<str>,
        /// Bytes allowed.
        limit: u64,
    },
    /// It has no bytes, or nothing but white space: most likely not written yet, or what made it failed.
    #[error("{origin}: is empty; delete it, or leave a comment in it, if it is to hold no objects")]
    Empty {
        /// The file.
        origin: Arc<str>,
    },
    /// A directory without manifests.
    #[error("{origin}: has no *.yaml, *.yml or *.json files")]
    NoManifests {
        /// The directory.
        origin: Arc<str>,
    },
    /// It is neither JSON nor YAML.
    #[error("{origin}: {}{message}", place(*line, *column))]
    Syntax {
        /// The file.
        origin: Arc<str>,
        /// From 1; 0 if not known.
        line: u64,
        /// From 1; 0 if not known.
        column: u64,
        /// What is wrong there.
        message: String,
    },
    /// Some of its objects cannot be used.
    #[error("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Objects {
        /// The file.
        origin: Arc<str>,
        /// The errors with the place of the object, such as `document 2, item 5`; at least one.
        errors: Vec<ObjectError>,
    },
    /// An object is there twice, with different content: which one was meant is anyone's guess.
    #[error("{origin}: {object}: is also in {other}, with different content")]
    Ambiguous {
        /// Kind, namespace and name.
        object: String,
        /// The namespace, if the object is in one.
        namespace: Option<NamespaceName>,
        /// The file that is read later.
        origin: Arc<str>,
        /// The file that is read first; may be the same.
        other: Arc<str>,
    },
}

/// Why one object of a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.lines().join("\n"))]
pub struct ObjectError {
    /// Where in the manifest, such as `document 2, item 5`; empty in a manifest of one object.
    pub place: String,
    /// What is wrong with it.
    pub error: ConvertError,
}

impl ObjectError {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = self.error.problems(Consequence::PreviousKept);
        for problem in &mut problems {
            problem.object = match (problem.object.is_empty(), self.place.is_empty()) {
                (true, _) => self.place.clone(),
                (false, true) => std::mem::take(&mut problem.object),
                (false, false) => format!("{} ({})", problem.object, self.place),
            };
        }
        problems
    }

    fn lines(&self) -> Vec<String> {
        let line = |problem: &Problem| {
            let origin = problem.origin.as_deref().unwrap_or_default();
            let parts = [origin, &problem.object, &problem.field, &problem.message];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
        };
        self.problems().iter().map(line).collect()
    }
}

fn place(line: u64, column: u64) -> String {
    if line == 0 { String::new() } else { format!("line {line}, column {column}: ") }
}

impl ManifestError {
    /// The file or directory.
    #[must_use]
    pub const fn origin(&self) -> &Arc<str> {
        match self {
            Self::Unreadable { origin, .. }
            | Self::TooLarge { origin, .. }
            | Self::Empty { origin }
            | Self::NoManifests { origin }
            | Self::Syntax { origin, .. }
            | Self::Objects { origin, .. }
            | Self::Ambiguous { origin, .. } => origin,
        }
    }

    /// The problem that two contradicting files make for the one of this origin; `None` for any other error or file.
    #[must_use]
    pub fn contradiction_of(&self, file: &Arc<str>) -> Option<Problem> {
        let Self::Ambiguous { object, namespace, origin, other } = self else { return None };
        let other = match file {
            file if file == origin => other,
            file if file == other => origin,
            _ => return None,
        };
        let (object, namespace) = (object.clone(), namespace.clone());
        Self::Ambiguous { object, namespace, origin: Arc::clone(file), other: Arc::clone(other) }
            .problems()
            .pop()
    }

    /// One problem for each thing that is wrong.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let (object, field) = match self {
            Self::Objects { errors, .. } => return errors.iter().flat_map(ObjectError::problems).collect(),
            Self::Ambiguous { object, .. } => (object.clone(), String::new()),
            Self::Syntax { line, column, .. } => {
                (String::new(), place(*line, *column).trim_end_matches(": ").to_owned())
            }
            _ => (String::new(), String::new()),
        };
        let message = match self {
            Self::Syntax { message, .. } => message.clone(),
            Self::Unreadable { source, .. } => source.to_string(),
            Self::Ambiguous { other, .. } => format!("is also in {other}, with different content"),
            other => {
                let text = other.to_string();
                text.strip_prefix(&format!("{}: ", self.origin())).unwrap_or(&text).to_owned()
            }
        };
        let namespace = match self {
            Self::Ambiguous { namespace, .. } => namespace.clone(),
            _ => None,
        };
        let origin = Some(Arc::clone(self.origin()));
        vec![Problem { object, namespace, origin, field, message, consequence: Consequence::PreviousKept }]
    }
}
