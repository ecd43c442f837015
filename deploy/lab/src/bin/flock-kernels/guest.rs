//! One emulated machine: it boots a kernel, sees the host's files read-only, runs jobs and goes away. Jobs write into
//! a folder of the host.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::debian::{KernelFiles, NftFiles};
use crate::initramfs::initramfs;

/// What booting and going away may take.
const BOOT: Duration = Duration::from_secs(300);
/// Between two looks at a machine.
const PERIOD: Duration = Duration::from_millis(100);
/// Its memory, in MiB. Most of it is never touched.
const MEMORY: &str = "4096";

/// A command in a guest.
pub(crate) struct Job {
    /// The name of the file that its output goes to.
    pub(crate) name: String,
    /// Words for the shell.
    pub(crate) command: String,
    /// How long it may take.
    pub(crate) limit: Duration,
}

/// A machine that is ready to boot.
pub(crate) struct Guest {
    kernel: PathBuf,
    initramfs: PathBuf,
    results: PathBuf,
}

/// A running machine; dropping it ends it.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guest {
    /// A machine with a kernel and an nft. What its jobs write comes into the folder `results`.
    pub(crate) fn new(busybox: &Path, kernel: &KernelFiles, nft: &NftFiles, results: &Path) -> Result<Self> {
        let bin = results.join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("make {}", bin.display()))?;
        if let Some(wrapper) = nft.wrapper() {
            let path = bin.join("nft");
            write(&path, wrapper.as_bytes())?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context("make nft executable")?;
        }
        let image = results.join("initramfs");
        write(&image, &initramfs(busybox, kernel)?)?;
        Ok(Self { kernel: kernel.image(), initramfs: image, results: results.to_owned() })
    }

    /// Boots, runs the jobs one after the other, and gives their exit statuses: nothing for one that did not end.
    /// With `live`, their output comes on standard output as well.
    pub(crate) fn run(&self, jobs: &[Job], patience: u32, live: bool) -> Result<Vec<Option<i32>>> {
        write(&self.results.join("run.sh"), script(jobs, patience).as_bytes())?;
        let limit = BOOT + jobs.iter().map(|job| job.limit).sum::<Duration>();
        let mut machine = Machine(self.boot()?);
        let start = Instant::now();
        let mut shown: Vec<Follower> = if live {
            jobs.iter().map(|job| Follower::of(&self.results.join(&job.name))).collect()
        } else {
            Vec::new()
        };
        loop {
            // Before the output is copied, so that what came last is shown as well.
            let ended = machine.0.try_wait().context("watch the guest")?;
            for follower in &mut shown {
                follower.copy().context("show what the guest says")?;
            }
            if ended.is_some() {
                break;
            }
            ensure!(
                start.elapsed() < limit,
                "the guest did not end; its console is {}",
                self.console().display()
            );
            thread::sleep(PERIOD);
        }
        // The first thing that the script makes. Without it, no missing status says anything of a job.
        if !self.results.join("up").exists() {
            let console = fs::read(self.console()).unwrap_or_default();
            bail!("the guest did not start; its console says:\n{}", tail(&String::from_utf8_lossy(&console)));
        }
        let status = |job: &Job| {
            let text = fs::read_to_string(self.results.join(format!("{}.status", job.name))).ok()?;
            text.trim().parse().ok()
        };
        Ok(jobs.iter().map(status).collect())
    }

    fn console(&self) -> PathBuf {
        self.results.join("console")
    }

    fn boot(&self) -> Result<Child> {
        let share = |path: &Path, tag: &str, more: &str| {
            // Commas separate options.
            let path = path.display().to_string().replace(',', ",,");
            format!("local,path={path},mount_tag={tag},security_model=none,multidevs=remap{more}")
        };
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY]);
        // A kernel that panics reboots at once (`panic=-1`), which with `-no-reboot` ends the machine.
        command.args(["-nodefaults", "-no-reboot", "-display", "none", "-serial"]);
        command.arg(format!("file:{}", self.console().display().to_string().replace(',', ",,")));
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initramfs);
        command
            .args(["-append", "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off random.trust_cpu=on"]);
        command.args(["-virtfs", &share(Path::new("/"), "host", ",readonly=on")]);
        command.args(["-virtfs", &share(&self.results, "flock", "")]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().context("start qemu-system-x86_64")
    }
}

/// What a guest runs in the host's root.
fn script(jobs: &[Job], patience: u32) -> String {
    let mut text = format!(
        "touch /run/flock/up\nexport PATH=/run/flock/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         export HOME=/root FLOCK_PATIENCE={patience}\n"
    );
    for Job { name, command, limit } in jobs {
        let quoted = command.replace('\'', r"'\''");
        let limit = limit.as_secs();
        // A limit in the guest: a job that hangs is not to use up the time of those behind it.
        text.push_str(&format!(
            "timeout -k 10 {limit} bash -c '{quoted}' </dev/null >/run/flock/{name} 2>&1\n\
             echo $? >/run/flock/{name}.status\n"
        ));
    }
    text
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("write {}", path.display()))
}

/// The last lines.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// A file that grows, copied to standard output.
struct Follower {
    path: PathBuf,
    file: Option<File>,
}

impl Follower {
    fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None }
    }

    fn copy(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            let mut new = Vec::new();
            file.read_to_end(&mut new)?;
            let mut out = io::stdout().lock();
            out.write_all(&new)?;
            out.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_may_hold_quotes() {
        let job =
            Job { name: "a".to_owned(), command: "echo 'x y'".to_owned(), limit: Duration::from_secs(60) };
        let script = script(&[job], 10);
        assert!(
            script.contains(r"timeout -k 10 60 bash -c 'echo '\''x y'\''' </dev/null >/run/flock/a 2>&1"),
            "{script}"
        );
        assert!(script.contains("FLOCK_PATIENCE=10"));
    }
}
