//! A certificate in a folder, in cert-manager's layout: `tls.crt` (leaf first) and `tls.key`, followed as they change.
//!
//! Polled, as mounted Secrets are exchanged by the swap of a link, which notifications do not tell.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flock_shared::causes;
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
        // Only once it is shown: a pair that is refused is looked at again.
        self.shown = pair;
        Ok(true)
    }
}

fn read(folder: &Path) -> Result<Pair, FilesError> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|source| FilesError::Unreadable { path, source })
    };
    // While the pair is exchanged, these may be of two pairs: they are refused, and found whole at the next look.
    Ok(Pair { chain: read("tls.crt")?, key: read("tls.key")? })
}

fn show(folder: &Path, certificate: &Certificate, pair: &Pair) -> Result<(), FilesError> {
    certificate
        .show(&pair.chain, &pair.key)
        .map_err(|source| FilesError::Unusable { folder: folder.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use rustls::server::ResolvesServerCert as _;
    use rustls::sign::CertifiedKey;
    use time::OffsetDateTime;

    use super::*;
    use crate::tls::own::{Lifetimes, Material, renew};

    /// A chain and its key.
    fn made() -> (String, String) {
        let names = BTreeSet::from(["compiler".to_owned()]);
        let made = renew(&Material::default(), &names, OffsetDateTime::now_utc(), &Lifetimes::default());
        let made = made.unwrap().unwrap();
        let (chain, key) = made.shown().unwrap();
        (chain.to_owned(), key.to_owned())
    }

    /// Puts both files into a new folder, and lets the link lead there: as mounted Secrets are exchanged.
    fn put(directory: &Path, name: &str, chain: &str, key: &str) {
        let folder = directory.join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("tls.crt"), chain).unwrap();
        std::fs::write(folder.join("tls.key"), key).unwrap();
        let link = directory.join("new");
        std::os::unix::fs::symlink(folder, &link).unwrap();
        std::fs::rename(link, directory.join("tls")).unwrap();
    }

    fn shown(certificate: &Certificate) -> Arc<CertifiedKey> {
        certificate.0.load_full().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_followed_and_what_cannot_be_used_is_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let certificate = Certificate::default();
        let folder = directory.path().join("tls");
        assert!(matches!(
            Files::open(folder.clone(), certificate.clone()),
            Err(FilesError::Unreadable { .. })
        ));
        let (first, second) = (made(), made());
        put(directory.path(), "a", &first.0, &first.1);
        let files = Files::open(folder, certificate.clone()).unwrap();
        let before = shown(&certificate);
        let _following = tokio::spawn(files.follow());
        let looked = async || tokio::time::sleep(EVERY * 2).await;

        looked().await;
        assert!(Arc::ptr_eq(&shown(&certificate), &before), "the same files are the same certificate");
        // The new certificate with the old key, and then no certificate at all.
        put(directory.path(), "b", &second.0, &first.1);
        looked().await;
        put(directory.path(), "c", "", "");
        looked().await;
        assert!(Arc::ptr_eq(&shown(&certificate), &before));
        put(directory.path(), "d", &second.0, &second.1);
        looked().await;
        let after = shown(&certificate);
        assert_ne!(after.cert, before.cert);
        assert!(certificate.is_there() && !certificate.only_raw_public_keys());
    }
}
