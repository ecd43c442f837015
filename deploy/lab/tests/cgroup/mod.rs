//! A memory cgroup for some processes of a test, of either version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// Where systems mount them.
const ROOT: &str = "/sys/fs/cgroup";

/// A group with a limit; dropping it removes it.
pub(crate) struct Cgroup {
    directory: PathBuf,
    files: Files,
}

/// The names of its files, and of the line of the file that counts who was killed.
struct Files {
    limit: &'static str,
    peak: &'static str,
    events: &'static str,
}

const V1: Files =
    Files { limit: "memory.limit_in_bytes", peak: "memory.max_usage_in_bytes", events: "memory.oom_control" };
const V2: Files = Files { limit: "memory.max", peak: "memory.peak", events: "memory.events" };

impl Cgroup {
    /// A group for so many bytes, kernel memory that is charged to it included.
    ///
    /// # Errors
    /// Why there can be none here.
    pub(crate) fn new(limit: u64) -> Result<Self, String> {
        let (parent, files) = parent().ok_or("needs a memory cgroup that may have others in it")?;
        let directory = parent.join(format!("flock-test-{}", std::process::id()));
        fs::create_dir(&directory).map_err(|error| {
            format!("needs memory cgroups that can be made: {}: {error}", directory.display())
        })?;
        let group = Self { directory, files };
        for file in [group.files.limit, group.files.peak] {
            if !group.directory.join(file).exists() {
                return Err(format!("needs {file} in memory cgroups"));
            }
        }
        fs::write(group.directory.join(group.files.limit), limit.to_string())
            .map_err(|error| format!("needs memory cgroups that can be limited: {error}"))?;
        Ok(group)
    }

    /// What starts a program in the group, to be given its arguments. The shell becomes the program, so that all that it
    /// ever has is charged to the group.
    pub(crate) fn command(&self, program: &Command) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        command.arg(self.directory.join("cgroup.procs")).arg(program.get_program());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// The most that its processes ever had.
    pub(crate) fn peak(&self) -> u64 {
        self.read(self.files.peak).trim().parse().unwrap()
    }

    /// How many of its processes were killed for their memory.
    pub(crate) fn killed(&self) -> u64 {
        let events = self.read(self.files.events);
        events.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap().parse().unwrap()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.directory.join(file)).unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its last process may still be on its way out.
        for _ in 0..100 {
            if fs::remove_dir(&self.directory).is_ok() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
    }
}

/// The group to make others in: this process's own in the first version, where processes may be in inner groups; in the
/// second the nearest one around it that hands memory on.
fn parent() -> Option<(PathBuf, Files)> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let fields = || own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let within = |root: &Path, path: &str| root.join(path.trim_start_matches('/'));
    if let Some((_, path)) = fields().find(|(controllers, _)| controllers.split(',').any(|it| it == "memory"))
    {
        let root = Path::new(ROOT).join("memory");
        // In a container the path is that of the host, and the group is mounted as the root.
        let own = Some(within(&root, path)).filter(|own| own.is_dir()).unwrap_or(root);
        return Some((own, V1));
    }
    let (_, path) = fields().find(|(controllers, _)| controllers.is_empty())?;
    let own = within(Path::new(ROOT), path);
    let hands_on = |directory: &&Path| {
        let handed = fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap_or_default();
        directory.starts_with(ROOT) && handed.split_whitespace().any(|controller| controller == "memory")
    };
    Some((own.ancestors().skip(1).find(hands_on).or(Some(Path::new(ROOT)).filter(hands_on))?.to_owned(), V2))
}
