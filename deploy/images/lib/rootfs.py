"""What is in each image: our programs, what of Debian they need, and nothing else. No shell, no package manager."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from . import debian
from .oci import File

# Nobody's, as in distroless images.
NONROOT = 65532


@dataclass(frozen=True)
class Image:
    """An image before it is built."""

    name: str
    title: str
    # Our programs; the first is the entry point.
    programs: tuple[str, ...]
    user: str
    # Programs of Debian.
    tools: tuple[str, ...] = ()
    # Those of our programs that run on the host, too, with whatever C library that has.
    host_programs: tuple[str, ...] = ()


IMAGES = {
    image.name: image
    for image in (
        Image(
            name="flock-compiler",
            title="Translates network policies into one nftables script per node",
            programs=("flock-compiler", "flockctl"),
            user=f"{NONROOT}:{NONROOT}",
        ),
        Image(
            name="flock-node-agent",
            title="Applies the nftables script of a node",
            programs=("flock-node-agent",),
            host_programs=("flock-node-agent-static", "flock-cni"),
            tools=("/usr/sbin/nft",),
            # nft wants uid 0; the DaemonSet leaves it CAP_NET_ADMIN only.
            user="0:0",
        ),
    )
}


@dataclass
class Root:
    """A root file system: what is Debian's, and what is ours."""

    base: dict[str, File] = field(default_factory=dict)
    ours: dict[str, File] = field(default_factory=dict)
    packages: list[debian.Package] = field(default_factory=list)
    # By our programs: the packages that they are linked to.
    linked: dict[str, set[str]] = field(default_factory=dict)


def program(path: Path, strip: bool) -> bytes:
    if not strip:
        return path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder, path.name)
        subprocess.run(["strip", "--strip-all", "-o", stripped, path], check=True)
        return stripped.read_bytes()


def accounts() -> dict[str, File]:
    # No account has a shell.
    texts = {
        "etc/passwd": f"root:x:0:0:root:/:\nnonroot:x:{NONROOT}:{NONROOT}:nonroot:/:\n",
        "etc/group": f"root:x:0:\nnonroot:x:{NONROOT}:\n",
        "etc/nsswitch.conf": "hosts: files dns\n",
    }
    return {path: File(text.encode()) for path, text in texts.items()}


def root(image: Image, binaries: Path, licence: Path, dev: bool) -> Root:
    """The root file system of an image, of programs in `binaries` and packages of this machine. Those of a build for tests
    (`dev`) are stripped here, and none is static: `flock-node-agent-static` is missing then."""
    made, libraries, needs = Root(), set(), {}
    for name in image.programs + image.host_programs:
        path = binaries / name
        if dev and name.endswith("-static") and not path.exists():
            continue
        needs[name] = debian.libraries(path)
        if name in image.host_programs and needs[name] and not dev:
            raise ValueError(f"{path} runs on hosts and is not static")
        libraries |= needs[name]
        made.ours[f"usr/local/bin/{name}"] = File(program(path, strip=dev), 0o755)
    for tool in image.tools:
        libraries |= debian.libraries(Path(tool))
        made.base[tool.lstrip("/")] = File(Path(tool).read_bytes(), 0o755)
    for library in libraries:
        # The interpreter is called by the kernel, and so has to be executable.
        made.base[debian.place(library)] = File(Path(library).read_bytes(), 0o755)
    owners = debian.owners(libraries | set(image.tools))
    made.linked = {name: {owners[library] for library in needed} for name, needed in needs.items()}
    made.base |= accounts()
    # By this, scanners know whose advisories to read.
    made.base["etc/os-release"] = File(Path("/etc/os-release").read_bytes())
    for link in ("bin", "lib", "lib64", "sbin"):
        if any(path.startswith(f"usr/{link}/") for path in made.base):
            made.base[link] = File(link=f"usr/{link}")
    made.packages = sorted({debian.package(name) for name in owners.values()})
    for package in made.packages:
        made.base[f"usr/share/doc/{package.name}/copyright"] = File(package.copyright.encode())
        made.base[f"var/lib/dpkg/status.d/{package.name}"] = File(package.status.encode())
    made.ours["usr/share/doc/flock-netpol/LICENSE"] = File(licence.read_bytes())
    return made


def version_of_nft() -> str:
    """The version of nft here, as it says it."""
    if not shutil.which("nft", path="/usr/sbin"):
        raise ValueError("there is no /usr/sbin/nft: install nftables")
    return debian.run("/usr/sbin/nft", "--version").split()[1].removeprefix("v")
