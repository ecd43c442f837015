//! A certificate in a folder, in cert-manager's layout: `tls.crt` (leaf first) and `tls.key`, followed as they change.
//!
//! Polled, as mounted Secrets are exchanged by the swap of a link, which notifications do not tell.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flock_shared::telemetry::causes;
use tokio::time::{MissedTickBehavior, interval};

use super::{Certificate, CertificateError};

const EVERY: Duration = Duration::from_secs(1);

/// Why a folder holds no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is in the files.
    #[error("tls.crt and tls.key in {}", folder.display())]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        source: CertificateError,
    },
}

/// The contents of both files. Not `Debug`: one of them is secret.
#[derive(PartialEq, Eq)]
struct Pair {
    chain: Vec<u8>,
    key: Vec<u8>,
}

/// A folder whose certificate is shown.
pub struct Files {
    folder: PathBuf,
    certificate: Certificate,
    shown: Pair,
}

impl Files {
    /// Shows what is in `folder`.
    ///
    /// # Errors
    /// [`FilesError`] says which file is at fault.
    pub fn open(folder: PathBuf, certificate: Certificate) -> Result<Self, FilesError> {
        let shown = read(&folder)?;
        show(&folder, &certificate, &shown)?;
        Ok(Self { folder, certificate, shown })
    }

    /// Follows the files for as long as it is polled. What cannot be used is reported, and the certificate before it
    /// goes on being shown.
    pub async fn follow(mut self) {
        let mut looks = interval(EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reported = None;
        loop {
            looks.tick().await;
            match self.look() {
                Ok(exchanged) => {
                    if exchanged {
                        tracing::info!(folder = %self.folder.display(), "another certificate is shown");
                    }
                    reported = None;
                }
                Err(error) => {
                    let error = causes(&error);
                    if reported.as_ref() != Some(&error) {
                        tracing::warn!(error, "the certificate stays as it was");
                        reported = Some(error);
                    }
                }
            }
        }
    }

    fn look(&mut self) -> Result<bool, FilesError> {
        let pair = read(&self.folder)?;
        if pair == self.shown {
            return Ok(false);
        }
        show(&self.folder, &self.certificate, &pair)?;
        self.shown = pair;
        Ok(true)
    }
}

fn read(folder: &Path) -> Result<Pair, FilesError> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|source| FilesError::Unreadable { path, source })
    };
    Ok(Pair { chain: read("tls.crt")?, key: read("tls.key")? })
}

fn show(folder: &Path, certificate: &Certificate, pair: &Pair) -> Result<(), FilesError> {
    certificate
        .show(&pair.chain, &pair.key)
        .map_err(|source| FilesError::Unusable { folder: folder.to_owned(), source })
}
