//! Keeps the plugin where it is to be, and takes it out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use flock_shared::cni::PLUGIN;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::binary::{Binary, Copied};
use super::folder::{Done, Folder};
use super::options::{Install, Uninstall, UntilWhen};
use super::patience::{Patience, Turn};
use super::select::{self, Edit, Edits, File};

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(200);
/// When it is known that nobody keeps it there: some looks long.
const SEEN: Duration = Duration::from_millis(700);
/// How often an edit is tried again that somebody else was faster than.
const ATTEMPTS: u32 = 5;

/// Why the plugin could not be installed, or taken out.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The binary is not in place; the configuration is without the plugin.
    #[error("the plugin's binary could not be installed: {0}")]
    Binary(#[source] io::Error),
    /// No binary that can be run is in place.
    #[error("{}: no plugin that can be run", .0.display())]
    NotThere(PathBuf),
    /// The folder or a file of it cannot be read or written.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing that it could be made part of.
    #[error("no configuration in {} that the plugin can be part of{why}", path.display())]
    Nowhere {
        /// The folder.
        path: PathBuf,
        /// Why not of those that are there.
        why: String,
    },
    /// It was taken out, and put back.
    #[error("the plugin was put back into {}: install-cni still runs on this node", .0.display())]
    PutBack(PathBuf),
    /// Somebody else kept writing.
    #[error("{}: somebody else keeps writing it", .0.display())]
    Overtaken(PathBuf),
    /// It is about to be edited, or somebody else has.
    #[error("{}: not as it is wanted", .0.display())]
    Otherwise(PathBuf),
}

/// Files that are left alone, and why.
type Faults = BTreeSet<(String, String)>;

/// What keeps the plugin in place.
#[derive(Debug)]
pub struct PluginKeeper {
    options: Install,
    folder: Folder,
    binary: Binary,
    /// Files that this process has written, and how often others did since; the binary is one of them.
    written: BTreeMap<String, Patience>,
    /// What is wrong, as of the last look; and what of it has been told.
    wrong: Faults,
    told: Faults,
}

impl PluginKeeper {
    /// Keeps the plugin in place as these options say.
    #[must_use]
    pub fn new(options: Install) -> Self {
        let folder = Folder::new(options.conf_dir().to_owned());
        let binary = Binary::new(options.binary(), options.bin_dir().to_owned());
        let (written, wrong, told) = Default::default();
        Self { options, folder, binary, written, wrong, told }
    }

    /// Looks once, and does what is to be done. What is wrong is told when it is seen a second time: others do not write in
    /// one step.
    ///
    /// # Errors
    /// When the plugin is part of no configuration afterwards.
    pub fn look(&mut self, now: Instant) -> Result<(), InstallError> {
        let ready = self.put_binary(now);
        let files = self.files()?;
        let (edits, wrong, is_part) = match &ready {
            Ok(()) => {
                let Edits { edits, unusable, chosen } =
                    select::with_plugin(&files, &self.options.choice(), &self.options.entry());
                let wrong: Faults = unusable.into_iter().map(|(name, why)| (name, why.to_string())).collect();
                (edits, wrong, chosen.is_some())
            }
            // A list that names a binary that is not there would stop every pod.
            Err(_) => (select::without_plugin(&files), Faults::new(), false),
        };
        let nowhere = self.nowhere(&wrong);
        self.tell(wrong);
        for (name, edit) in edits {
            // What would stop pods is not left alone for as long as somebody else is at it: a list that names a binary which
            // is not there, or one that was made from another that has gone.
            let is_urgent = ready.is_err() || edit == Edit::Remove;
            self.edit(&name, files.get(&name), edit, is_urgent, now)?;
        }
        ready?;
        if is_part { Ok(()) } else { Err(nowhere) }
    }

    fn nowhere(&self, wrong: &Faults) -> InstallError {
        let why: String = wrong.iter().map(|(name, why)| format!("; {name}: {why}")).collect();
        InstallError::Nowhere { path: self.folder.path().clone(), why }
    }

    fn put_binary(&mut self, now: Instant) -> Result<(), InstallError> {
        let is_paused = self.written.get(PLUGIN).is_some_and(|patience| patience.is_paused(now));
        if is_paused && self.binary.is_runnable() {
            return Ok(());
        }
        let target = self.binary.target();
        let path = target.display();
        let mut turn = Turn::Write;
        let patience = &mut self.written;
        let copied = self.binary.ensure(|| {
            turn = patience.get_mut(PLUGIN).map_or(Turn::Write, |patience| patience.turn(now));
            turn != Turn::Wait
        });
        match copied.map_err(InstallError::Binary)? {
            Copied::Same | Copied::Left => return Ok(()),
            Copied::New => info!(%path, "installed the plugin"),
            Copied::Dynamic => warn!(
                %path,
                "installed the plugin, which is linked dynamically: it runs only if this host has its libraries"
            ),
        }
        self.written.entry(PLUGIN.to_owned()).or_default();
        if let Turn::WriteAndPause(pause) = turn {
            warn!(
                %path, seconds = pause.as_secs(),
                "somebody else keeps putting another binary there: it is not replaced for a while"
            );
        }
        Ok(())
    }

    fn files(&self) -> Result<BTreeMap<String, File>, InstallError> {
        let path = self.folder.path();
        self.folder.files().map_err(|source| InstallError::Folder { path: path.clone(), source })
    }

    fn edit(
        &mut self,
        name: &str,
        former: Option<&File>,
        mut edit: Edit,
        is_urgent: bool,
        now: Instant,
    ) -> Result<(), InstallError> {
        let path = self.folder.path().join(name);
        let turn = self.written.get_mut(name).map_or(Turn::Write, |patience| patience.turn(now));
        if turn == Turn::Wait && !is_urgent {
            if !select::is_made(name) || former.is_none() {
                return Ok(());
            }
            // It says no longer what it was made from does, which the runtime is to take until the pause is over.
            edit = Edit::Remove;
        }
        let done = self
            .folder
            .edit(name, former, &edit)
            .map_err(|source| InstallError::Folder { path: path.clone(), source })?;
        if done == Done::Overtaken {
            // The next look finds what came of it.
            return Ok(());
        }
        self.written.entry(name.to_owned()).or_default();
        info!(path = %path.display(), "{}", what(&edit));
        if let Turn::WriteAndPause(pause) = turn {
            warn!(
                path = %path.display(), seconds = pause.as_secs(),
                "somebody else keeps rewriting the configuration without the plugin: it is not put back for a while"
            );
        }
        Ok(())
    }

    /// Tells what is wrong for the second time in a row, once.
    fn tell(&mut self, wrong: Faults) {
        self.told.retain(|fault| wrong.contains(fault));
        // Only what two looks have found: a file that is being written is wrong for a moment.
        for fault in wrong.intersection(&self.wrong) {
            if self.told.insert(fault.clone()) {
                let (name, why) = fault;
                warn!(path = %self.folder.path().join(name).display(), why, "a configuration is left alone");
            }
        }
        self.wrong = wrong;
    }
}

fn what(edit: &Edit) -> &'static str {
    match edit {
        Edit::Write(text) if text.contains(PLUGIN) => "the plugin is part of the configuration",
        Edit::Write(_) => "the plugin is no part of the configuration any more",
        Edit::Remove => "removed the list that was made for the plugin",
    }
}

/// Installs the plugin and keeps it there until `stop`, unless it is to be done once, or kept out, or only told of.
///
/// # Errors
/// When it is to be done once, and cannot; when it cannot be taken out at the end; or when what is told of is otherwise.
pub async fn install(options: Install, stop: impl Future<Output = &'static str>) -> Result<(), InstallError> {
    if options.is_probe() {
        return probe(&options);
    }
    let until = options.until();
    let conf_dir = options.conf_dir().to_owned();
    if until == UntilWhen::KeptOut {
        keep_out(&Folder::new(conf_dir), stop).await;
        return Ok(());
    }
    let mut keeper = PluginKeeper::new(options);
    if until == UntilWhen::Installed {
        keeper.look(Instant::now())?;
        // There is no second look. A file in front that cannot be read stops pods on containerd, whoever it is from.
        keeper.tell(keeper.wrong.clone());
        return Ok(());
    }
    let mut looks = interval(PERIOD);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    let mut last = String::new();
    let signal = loop {
        tokio::select! {
            // First, so that a signal of the first moment is not lost.
            biased;
            signal = &mut stop => break signal,
            now = looks.tick() => {
                let outcome = keeper.look(now).err().map(|error| error.to_string()).unwrap_or_default();
                if outcome != last && !outcome.is_empty() {
                    warn!(error = outcome, "the plugin is not installed");
                }
                last = outcome;
            }
        }
    };
    if until == UntilWhen::Stopped {
        info!(signal, "stopping; the plugin stays in the configuration");
        return Ok(());
    }
    info!(signal, "stopping; the plugin leaves the configuration");
    remove(&Folder::new(conf_dir)).map(drop)
}

/// Looks whether a runtime finds the plugin as these options want it, in the list and as a binary that can be run; or that no
/// list has it, where it is to be kept out.
fn probe(options: &Install) -> Result<(), InstallError> {
    let folder = Folder::new(options.conf_dir().to_owned());
    let path = folder.path();
    let files = folder.files().map_err(failed(path.clone()))?;
    let otherwise = |edits: BTreeMap<String, Edit>| match edits.into_keys().next() {
        Some(name) => Err(InstallError::Otherwise(path.join(name))),
        None => Ok(()),
    };
    if options.until() == UntilWhen::KeptOut {
        return otherwise(select::without_plugin(&files));
    }
    let binary = Binary::new(options.binary(), options.bin_dir().to_owned());
    if !binary.is_runnable() {
        return Err(InstallError::NotThere(binary.target()));
    }
    let Edits { edits, unusable, chosen } = select::with_plugin(&files, &options.choice(), &options.entry());
    otherwise(edits)?;
    if chosen.is_some() {
        return Ok(());
    }
    let why = unusable.iter().map(|(name, why)| format!("; {name}: {why}")).collect();
    Err(InstallError::Nowhere { path: path.clone(), why })
}

/// Takes the plugin out whenever it is part of a configuration, until `stop`. Whoever puts it back ends as this does, so what
/// cannot be done is told, and tried again.
async fn keep_out(folder: &Folder, stop: impl Future<Output = &'static str>) {
    let mut looks = interval(PERIOD);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    let mut last = None;
    info!(path = %folder.path().display(), "the plugin is kept out of the configurations");
    let signal = loop {
        tokio::select! {
            biased;
            signal = &mut stop => break signal,
            _ = looks.tick() => {
                let outcome = remove(folder);
                outcome.iter().flatten().for_each(|line| info!("{line}"));
                let error = outcome.err().map(|error| error.to_string());
                if error != last && let Some(error) = &error {
                    warn!(error, "the plugin may be part of a configuration");
                }
                last = error;
            }
        }
    };
    info!(signal, "stopping; the plugin stays out of the configurations");
}

/// Takes the plugin out, and tells what was done, a line each.
///
/// # Errors
/// When something of it cannot be done.
pub fn uninstall(options: &Uninstall) -> Result<Vec<String>, InstallError> {
    let folder = Folder::new(options.conf_dir().to_owned());
    let mut lines = remove(&folder)?;
    if lines.is_empty() {
        lines.push(format!("the plugin is part of no configuration in {}", folder.path().display()));
    } else {
        std::thread::sleep(SEEN);
        let files = folder.files().map_err(failed(folder.path().clone()))?;
        if let Some(name) = select::without_plugin(&files).into_keys().next() {
            return Err(InstallError::PutBack(folder.path().join(name)));
        }
    }
    let Some(bin_dir) = options.removed_from() else {
        lines.push(format!("left its binary, which runtimes call for pods that it was there for, {PLUGIN}"));
        return Ok(lines);
    };
    let path = bin_dir.join(PLUGIN);
    super::file::remove(bin_dir, PLUGIN).map_err(failed(path.clone()))?;
    lines.push(format!("removed {}", path.display()));
    Ok(lines)
}

fn failed(path: PathBuf) -> impl FnOnce(io::Error) -> InstallError {
    move |source| InstallError::Folder { path, source }
}

fn remove(folder: &Folder) -> Result<Vec<String>, InstallError> {
    let mut lines = Vec::new();
    for _ in 0..ATTEMPTS {
        let files = folder.files().map_err(failed(folder.path().clone()))?;
        let edits = select::without_plugin(&files);
        if edits.is_empty() {
            return Ok(lines);
        }
        for (name, edit) in edits {
            let path = folder.path().join(&name);
            let done = folder.edit(&name, files.get(&name), &edit).map_err(failed(path.clone()))?;
            if done == Done::Edited {
                lines.push(format!("{}: {}", path.display(), what(&edit)));
            }
        }
    }
    Err(InstallError::Overtaken(folder.path().clone()))
}
