//! Debian's packages, of other releases than this machine's too: fetched by apt with a state of its own, unpacked into
//! the cache, never installed. What the cache has is not fetched again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::modules::{self, Source};
use crate::options::{Kernel, NftVersion};

/// Where Debian's keys are. They sign all releases.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Debian, through this machine's mirror.
pub(crate) struct Debian<'a> {
    cache: &'a Path,
}

/// A kernel and the modules that guests load.
pub(crate) struct KernelFiles {
    folder: PathBuf,
    /// Such as `6.1.192`.
    pub(crate) version: String,
}

/// An nft.
pub(crate) struct NftFiles {
    /// Where it is unpacked with its libraries; nowhere if it is this machine's.
    root: Option<PathBuf>,
    /// Such as `1.0.6`.
    pub(crate) version: String,
}

impl KernelFiles {
    /// What boots.
    pub(crate) fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// Modules in the order in which they are loaded.
    pub(crate) fn modules(&self) -> Result<Vec<PathBuf>> {
        let mut found = files(&self.folder.join("modules"))?;
        found.sort();
        Ok(found)
    }
}

impl NftFiles {
    /// A script that runs it with its own libraries, where it is not this machine's.
    pub(crate) fn wrapper(&self) -> Option<String> {
        let root = self.root.as_ref()?.display();
        let usr = format!("{root}/usr");
        Some(format!(
            "#!/bin/sh\nexec '{usr}/lib64/ld-linux-x86-64.so.2' --library-path '{usr}/lib/x86_64-linux-gnu' '{usr}/sbin/nft' \"$@\"\n"
        ))
    }
}

impl Kernel {
    const fn suite(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Testing => "testing",
        }
    }
}

impl<'a> Debian<'a> {
    /// Debian with its cache in a folder.
    pub(crate) fn new(cache: &'a Path) -> Result<Self> {
        fs::create_dir_all(cache).with_context(|| format!("make {}", cache.display()))?;
        Ok(Self { cache })
    }

    /// A busybox without libraries.
    pub(crate) fn busybox(&self) -> Result<PathBuf> {
        let folder = self.kept("busybox", |new| {
            let suite = self.suite("trixie")?;
            for package in suite.fetch(&["busybox-static"], new)? {
                unpack(&package, new)?;
            }
            Ok(())
        })?;
        let found = files(&folder)?.into_iter().find(|path| path.ends_with("bin/busybox"));
        found.context("busybox-static holds no busybox")
    }

    /// A release's newest kernel at the time it was first asked for.
    pub(crate) fn kernel(&self, kernel: Kernel) -> Result<KernelFiles> {
        let folder = self.kept(&format!("linux-{}", kernel.name()), |new| {
            let suite = self.suite(kernel.suite())?;
            // Depending on the release: all in one package, or the image and its modules apart.
            let needed = suite.closure("linux-image-amd64")?;
            let is_wanted = |name: &&str| {
                let rest = ["linux-image-", "linux-binary-", "linux-modules-"]
                    .iter()
                    .find_map(|p| name.strip_prefix(p));
                rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
            };
            let wanted: Vec<&str> = needed.iter().map(|(name, _)| name.as_str()).filter(is_wanted).collect();
            let version =
                needed.iter().find(|(name, _)| wanted.contains(&name.as_str())).map(|(_, version)| version);
            let version = version.with_context(|| format!("no kernel in {needed:?}"))?;
            let tree = new.join("tree");
            for package in suite.fetch(&wanted, new)? {
                unpack(&package, &tree)?;
            }
            keep_what_boots(&tree, new)?;
            fs::remove_dir_all(&tree).context("remove the rest of a kernel")?;
            // What Debian appends is its own.
            write(&new.join("version"), version.split('-').next().unwrap_or(version).as_bytes())
        })?;
        let version = fs::read_to_string(folder.join("version")).context("read a kernel's version")?;
        Ok(KernelFiles { folder, version })
    }

    /// An nft with its libraries.
    pub(crate) fn nft(&self, version: NftVersion) -> Result<NftFiles> {
        let suite = match version {
            NftVersion::Host => return host_nft(),
            NftVersion::Trixie => "trixie",
            NftVersion::Testing => "testing",
        };
        let folder = self.kept(&format!("nft-{suite}"), |new| {
            let suite = self.suite(suite)?;
            let needed = suite.closure("nftables")?;
            let names: Vec<&str> = needed.iter().map(|(name, _)| name.as_str()).collect();
            for package in suite.fetch(&names, new)? {
                unpack(&package, &new.join("root"))?;
            }
            let version = needed.iter().find(|(name, _)| name == "nftables").map(|(_, version)| version);
            let version = version.context("nftables does not depend on itself")?;
            write(&new.join("version"), version.split('-').next().unwrap_or(version).as_bytes())
        })?;
        let version = fs::read_to_string(folder.join("version")).context("read the version of nft")?;
        Ok(NftFiles { root: Some(folder.join("root")), version })
    }

    /// A folder of the cache that `make` fills where it is not there. It is there as a whole or not at all.
    fn kept(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let folder = self.cache.join(name);
        if !folder.exists() {
            let new = tempfile::tempdir_in(self.cache).context("make a folder in the cache")?;
            make(new.path())?;
            fs::rename(new.keep(), &folder).with_context(|| format!("make {}", folder.display()))?;
        }
        Ok(folder)
    }

    /// A release, with its lists of packages as of now.
    fn suite(&self, name: &str) -> Result<Suite> {
        let folder = self.cache.join("apt").join(name);
        for part in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(folder.join(part)).with_context(|| format!("make {}", folder.display()))?;
        }
        let mirrors = mirrors()?;
        let main =
            // Suites of updates and fixes have a dash, and may come from elsewhere.
            mirrors.iter().find(|(_, suite)| !suite.contains('-')).context("apt has no mirror of Debian")?;
        let mut sources = format!("deb [signed-by={KEYS}] {} {name} main\n", main.0);
        // Testing gets its fixes from unstable.
        if name != "testing"
            && let Some((uri, _)) = mirrors.iter().find(|(_, suite)| suite.ends_with("-security"))
        {
            sources.push_str(&format!("deb [signed-by={KEYS}] {uri} {name}-security main\n"));
        }
        write(&folder.join("sources.list"), sources.as_bytes())?;
        // Nothing is installed here: what a package depends on is all of it.
        write(&folder.join("status"), b"")?;
        let place = folder.display();
        let settings = format!(
            "Dir::State::lists \"{place}/lists\";\nDir::State::status \"{place}/status\";\n\
             Dir::Cache \"{place}\";\nDir::Etc::sourcelist \"{place}/sources.list\";\n\
             Dir::Etc::sourceparts \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
             APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\nAPT::Sandbox::User \"\";\n\
             Acquire::Languages \"none\";\nAcquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             Acquire::Retries \"3\";\n"
        );
        write(&folder.join("apt.conf"), settings.as_bytes())?;
        let suite = Suite { settings: folder.join("apt.conf") };
        // Without the last one, lists that cannot be fetched are a warning.
        suite.apt(&["update", "-qq", "-o", "APT::Update::Error-Mode=any"], None)?;
        Ok(suite)
    }
}

/// A release, for apt.
struct Suite {
    settings: PathBuf,
}

impl Suite {
    /// Packages that one depends on, and itself, with their versions.
    fn closure(&self, package: &str) -> Result<Vec<(String, String)>> {
        let arguments = ["install", "-y", "-qq", "--no-install-recommends", "--print-uris", package];
        Ok(packages(&self.apt(&arguments, None)?))
    }

    /// Downloads packages, and says where they are.
    fn fetch(&self, names: &[&str], into: &Path) -> Result<Vec<PathBuf>> {
        let folder = into.join("packages");
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let mut arguments = vec!["download", "-qq"];
        arguments.extend(names);
        self.apt(&arguments, Some(&folder))?;
        files(&folder)
    }

    fn apt(&self, arguments: &[&str], folder: Option<&Path>) -> Result<String> {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("APT_CONFIG", &self.settings);
        if let Some(folder) = folder {
            command.current_dir(folder);
        }
        run(&mut command)
    }
}

/// What apt prints of packages that it would fetch: `'ADDRESS' NAME_VERSION_ARCHITECTURE.deb SIZE HASH`.
fn packages(printed: &str) -> Vec<(String, String)> {
    let files =
        printed.lines().filter(|line| line.starts_with('\'')).filter_map(|line| line.split(' ').nth(1));
    let parts = files.filter_map(|file| {
        let mut parts = file.split('_');
        let (name, version) = (parts.next()?, parts.next()?);
        // An epoch is no part of what people call the version.
        let version = version.split_once("%3a").map_or(version, |(_, version)| version);
        Some((name.to_owned(), version.to_owned()))
    });
    parts.collect()
}

/// The mirrors that this machine's apt has of Debian, each with a suite.
fn mirrors() -> Result<Vec<(String, String)>> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(ORIGIN) $(REPO_URI) $(CODENAME)", "Created-By: Packages"]);
    let printed = run(&mut command)?;
    let debian = printed.lines().filter_map(|line| line.strip_prefix("Debian ")?.split_once(' '));
    Ok(debian.map(|(uri, suite)| (uri.to_owned(), suite.to_owned())).collect())
}

fn host_nft() -> Result<NftFiles> {
    let printed = run(Command::new("nft").arg("--version"))?;
    let version = printed.split(' ').nth(1).unwrap_or_default().trim_start_matches('v').to_owned();
    Ok(NftFiles { root: None, version })
}

fn unpack(package: &Path, into: &Path) -> Result<()> {
    run(Command::new("dpkg-deb").arg("-x").arg(package).arg(into))?;
    fs::remove_file(package).with_context(|| format!("remove {}", package.display()))
}

/// Takes the image and the modules that guests load out of an unpacked kernel.
fn keep_what_boots(tree: &Path, into: &Path) -> Result<()> {
    let found = files(tree)?;
    let image = found
        .iter()
        .find(|path| file_name(path).starts_with("vmlinuz"))
        .context("a kernel without an image")?;
    fs::copy(image, into.join("vmlinuz")).context("keep a kernel's image")?;
    let folder = into.join("modules");
    fs::create_dir(&folder).context("make a folder for modules")?;
    for (number, (name, code)) in modules::in_order(&Tree::of(&found))?.into_iter().enumerate() {
        // The number keeps the order in which they are to be loaded.
        write(&folder.join(format!("{number:03}-{name}.ko")), &code)?;
    }
    Ok(())
}

/// The modules of an unpacked kernel.
struct Tree(BTreeMap<String, PathBuf>);

impl Tree {
    fn of(files: &[PathBuf]) -> Self {
        let module = |path: &PathBuf| {
            let (name, end) = file_name(path)
                .split_once(".ko")
                .map(|(name, end)| (name.replace('-', "_"), end.to_owned()))?;
            matches!(end.as_str(), "" | ".xz").then(|| (name, path.clone()))
        };
        Self(files.iter().filter_map(module).collect())
    }
}

impl Source for Tree {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(path) = self.0.get(name) else { return Ok(None) };
        if path.extension().is_some_and(|extension| extension == "xz") {
            let output = Command::new("xz").arg("-dc").arg(path).output().context("start xz")?;
            ensure!(output.status.success(), "xz cannot unpack {}", path.display());
            return Ok(Some(output.stdout));
        }
        fs::read(path).map(Some).with_context(|| format!("read {}", path.display()))
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// All files below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry.context("read a folder")?;
        // Links are not followed: they may lead anywhere.
        let kind = entry.file_type().context("read a folder")?;
        if kind.is_dir() {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("write {}", path.display()))
}

/// Runs a program; its standard error is the reason where it fails.
fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("start {program}"))?;
    let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.success(), "{program} failed: {errors}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_read_from_file_names() {
        let printed = "Reading lists\n'http://mirror/a/nftables_1.1.3-1_amd64.deb' nftables_1.1.3-1_amd64.deb 75864 MD5Sum:0\n\
                       'http://mirror/g' libgmp10_2%3a6.3.0+dfsg-3_amd64.deb 560220 SHA256:0\n";
        let expected = [("nftables", "1.1.3-1"), ("libgmp10", "6.3.0+dfsg-3")];
        assert_eq!(packages(printed), expected.map(|(name, version)| (name.to_owned(), version.to_owned())));
    }

    #[test]
    fn modules_are_known_by_one_name() {
        let paths = ["a/nft-ct.ko.xz", "b/sctp.ko", "c/x.ko.zst", "d/README"].map(PathBuf::from);
        let tree = Tree::of(&paths);
        assert_eq!(tree.0.keys().collect::<Vec<_>>(), ["nft_ct", "sctp"]);
    }
}
