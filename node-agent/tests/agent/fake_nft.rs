//! An nft that is a shell script: it keeps what it is given, remembers markers, and fails as it is told.

use std::fs;
use std::path::PathBuf;

use flock_shared::Revision;
use tempfile::TempDir;

const SCRIPT: &str = r#"
here=$(dirname "$0")
case "$1" in
--version) echo 'nftables v1.0.6 (Fake)' ;;
-c)
    asked=$(cat)
    case "$asked" in
    # Whether anything judges.
    "add rule inet flock_netpol "*"gress accept"*) test -n "$(ls "$here/kernel")" ;;
    "add rule inet flock_netpol_next judges accept"*) exit 1 ;;
    *) test -e "$here/kernel/$(printf '%s' "$asked" | grep -o 'rev_[0-9a-f]*' | tail -n 1)" ;;
    esac
    ;;
-f)
    run=$here/runs/$(ls "$here/runs" | wc -l)
    cat > "$run.part"
    mv "$run.part" "$run"
    . "$here/behaviour"
    rm -f "$here"/kernel/*
    touch "$here/kernel/$(grep -o 'rev_[0-9a-f]*' "$run" | tail -n 1)"
    ;;
esac
"#;

/// What it does with a script before it takes it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Behaviour {
    Take,
    Fail,
    /// Refuses one script, and takes those after it.
    FailOnce,
    Hang,
    Die,
    /// Dies of one script, and takes those after it.
    DieOnce,
    /// Takes half a second.
    Dawdle,
    /// Commits, and dies then.
    CommitAndDie,
}

pub(crate) struct FakeNft {
    folder: TempDir,
}

impl FakeNft {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("runs")).unwrap();
        fs::create_dir(folder.path().join("kernel")).unwrap();
        fs::write(folder.path().join("nft"), SCRIPT).unwrap();
        let nft = Self { folder };
        nft.behave(Behaviour::Take);
        nft
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `--nft` is given.
    pub(crate) fn command(&self) -> String {
        format!("sh {}", self.path("nft").display())
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        let lines = match behaviour {
            Behaviour::Take => "",
            Behaviour::Fail => "echo '/dev/stdin:1:1-3: Error: on purpose' >&2; exit 1",
            Behaviour::FailOnce => "> \"$here/behaviour\"; exit 1",
            Behaviour::DieOnce => "> \"$here/behaviour\"; kill -SEGV $$",
            Behaviour::Hang => "exec sleep 600",
            Behaviour::Die => "kill -SEGV $$",
            Behaviour::Dawdle => "sleep 0.5",
            Behaviour::CommitAndDie => {
                "touch \"$here/kernel/$(grep -o 'rev_[0-9a-f]*' \"$run\" | tail -n 1)\"; kill -KILL $$"
            }
        };
        fs::write(self.path("behaviour.new"), lines).unwrap();
        fs::rename(self.path("behaviour.new"), self.path("behaviour")).unwrap();
    }

    /// How many scripts it has read whole.
    pub(crate) fn runs(&self) -> usize {
        let files = fs::read_dir(self.path("runs")).unwrap();
        files.filter(|file| file.as_ref().unwrap().path().extension().is_none()).count()
    }

    /// The script of a run, the first being 0.
    pub(crate) fn run(&self, index: usize) -> Vec<u8> {
        fs::read(self.path("runs").join(index.to_string())).unwrap()
    }

    fn marker(&self, revision: &Revision) -> PathBuf {
        self.path("kernel").join(format!("rev_{revision}"))
    }

    pub(crate) fn holds(&self, revision: &Revision) -> bool {
        self.marker(revision).exists()
    }

    /// Something else removes the table.
    pub(crate) fn lose(&self, revision: &Revision) {
        fs::remove_file(self.marker(revision)).unwrap();
    }
}
