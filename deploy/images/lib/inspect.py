"""What may not be in an image, whoever built it. Pure: bytes of layers in, sentences out."""

import gzip
import io
import json
import re
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from .oci import Layout, digest
from .rootfs import Image

SHELLS = {"sh", "ash", "bash", "busybox", "csh", "dash", "ksh", "mksh", "tcsh", "toybox", "zsh"}

# Panics name the file that they come from, and so do programs: `…/registry/src/REGISTRY/NAME-VERSION/src/lib.rs`.
CRATE = re.compile(rb"/registry/src/[^/\0]{1,80}/([a-zA-Z0-9_-]{1,80}?)-(\d+\.\d+\.\d+[a-zA-Z0-9.+-]{0,40})/")


@dataclass
class Found:
    """An image as it was read: its configuration, its files, and what is wrong with it."""

    config: dict = field(default_factory=dict)
    files: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def size(self) -> int:
        return sum(len(content) for content in self.contents.values())


def entries(found: Found, tarred: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(tarred)) as archive:
        members = archive.getmembers()
        if [member.name for member in members] != sorted(member.name for member in members):
            found.faults.append("entries of a layer are not sorted")
        for member in members:
            found.files[member.name] = member
            if member.isreg():
                found.contents[member.name] = archive.extractfile(member).read()


def judge_file(member: tarfile.TarInfo, epoch: int | None) -> list[str]:
    """What is wrong with an entry by itself."""
    wrong = []
    if (member.uid, member.gid) != (0, 0):
        wrong.append(f"is of {member.uid}:{member.gid} and not of root")
    if member.mode & 0o7000:
        wrong.append(f"has the mode {member.mode:o}: set-user-ID, set-group-ID or sticky")
    if not member.issym() and member.mode & 0o022:
        wrong.append(f"can be written by others: mode {member.mode:o}")
    if not (member.isreg() or member.isdir() or member.issym()):
        wrong.append("is neither file, folder nor link")
    if epoch is not None and member.mtime != epoch:
        wrong.append(f"is of the time {member.mtime} and not {epoch}")
    return [f"/{member.name} {what}" for what in wrong]


def judge_programs(found: Found, image: Image) -> list[str]:
    """What can be started, and is neither ours nor known to be needed."""
    known = {f"usr/local/bin/{name}" for name in image.programs + image.host_programs}
    known |= {tool.lstrip("/") for tool in image.tools}
    wrong = []
    for path, content in found.contents.items():
        name = path.rsplit("/", 1)[-1]
        if name in SHELLS or content.startswith(b"#!"):
            wrong.append(f"/{path} is a shell, or for one")
        elif found.files[path].mode & 0o111 and path not in known and ".so" not in name:
            wrong.append(f"/{path} can be started, and nobody needs it")
    missing = [path for path in known if path not in found.files and not path.endswith("-static")]
    return wrong + [f"/{path} is missing" for path in missing]


def inspect(folder: Path, image: Image, epoch: int | None = None) -> Found:
    """Reads a layout with one image, with its faults. With `epoch`, all files have to be of that time."""
    found, layout = Found(), Layout(folder)
    manifest = json.loads(layout.blob(layout.index()["manifests"][0]["digest"]))
    found.config = json.loads(layout.blob(manifest["config"]["digest"]))
    for descriptor, diff_id in zip(manifest["layers"], found.config["rootfs"]["diff_ids"], strict=True):
        plain = gzip.decompress(layout.blob(descriptor["digest"]))
        if digest(plain) != diff_id:
            found.faults.append(f"the layer {descriptor['digest']} is not {diff_id}")
        entries(found, plain)
    for member in found.files.values():
        found.faults += judge_file(member, epoch)
    found.faults += judge_programs(found, image)
    if found.config["config"]["User"] != image.user:
        found.faults.append(f"it runs as {found.config['config']['User']}, and not as {image.user}")
    return found


def bill(found: Found, document: dict) -> list[str]:
    """What is in the image, and is not in its SBOM."""
    listed = {(package["name"], package["versionInfo"]) for package in document["packages"]}
    names = {name for name, _ in listed}
    wrong = []
    for path, content in found.contents.items():
        if path.startswith("usr/local/bin/"):
            crates = {(name.decode(), version.decode()) for name, version in CRATE.findall(content)}
            wrong += [f"/{path}: the SBOM lacks the crate {' '.join(crate)}" for crate in sorted(crates - listed)]
            if not crates:
                wrong.append(f"/{path}: no crate has left its path in it, so that nothing is compared")
    packages = {path.rsplit("/", 1)[-1] for path in found.contents if path.startswith("var/lib/dpkg/status.d/")}
    return wrong + [f"the SBOM lacks the package {name}" for name in sorted(packages - names)]
