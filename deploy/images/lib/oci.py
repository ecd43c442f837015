"""Files as layers, and layers as an OCI image layout: the same files give the same bytes, wherever and whenever."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True)
class File:
    """A file of an image: its bytes, or where a symbolic link leads."""

    content: bytes = b""
    mode: int = 0o644
    link: str = ""


@dataclass(frozen=True)
class Layer:
    """A layer as it is stored, and the digest of the tar in it."""

    blob: bytes
    diff_id: str
    about: str


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def parents(paths) -> set[str]:
    found = set()
    for path in paths:
        folder = os.path.dirname(path)
        while folder:
            found.add(folder)
            folder = os.path.dirname(folder)
    return found


def layer(files: dict[str, File], about: str, epoch: int, level: int = 9) -> Layer:
    """A layer of `files`, by paths without a leading slash. All are root's and of the time `epoch`."""
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        folders = parents(files) - set(files)
        for path in sorted(folders | set(files)):
            entry = tarfile.TarInfo(path)
            entry.mtime = epoch
            if path in folders:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
                continue
            file = files[path]
            entry.mode = file.mode
            if file.link:
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, file.link, 0o777
                archive.addfile(entry)
            else:
                entry.size = len(file.content)
                archive.addfile(entry, io.BytesIO(file.content))
    plain = tarred.getvalue()
    # Without a time or a name of the file in its head.
    return Layer(gzip.compress(plain, compresslevel=level, mtime=0), digest(plain), about)


def stable(value) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class Layout:
    """A folder with an image layout."""

    def __init__(self, folder: Path):
        self.folder = folder

    def blob(self, digest_: str) -> bytes:
        """A blob, whose bytes are what its digest says."""
        algorithm, value = digest_.split(":")
        data = (self.folder / "blobs" / algorithm / value).read_bytes()
        if digest(data) != digest_:
            raise ValueError(f"{self.folder}: the blob {digest_} has other bytes")
        return data

    def index(self) -> dict:
        return json.loads((self.folder / "index.json").read_bytes())

    def add(self, data: bytes, media_type: str, **more) -> dict:
        """Writes a blob and returns its descriptor."""
        name = digest(data)
        path = self.folder / "blobs" / name.replace(":", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {"mediaType": media_type, "digest": name, "size": len(data), **more}

    def finish(self, descriptors: list[dict]) -> str:
        """Writes what names the layout's images, and returns the digest of the first one."""
        (self.folder / "oci-layout").write_bytes(stable({"imageLayoutVersion": "1.0.0"}))
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors}
        (self.folder / "index.json").write_bytes(stable(index))
        return descriptors[0]["digest"]


def write_image(folder: Path, layers: list[Layer], config: dict, architecture: str, created: str) -> str:
    """A layout with one image; returns the digest of its manifest."""
    layout = Layout(folder)
    platform = {"architecture": architecture, "os": "linux"}
    described = {
        **platform,
        "created": created,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": created, "created_by": layer.about} for layer in layers],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.add(stable(described), CONFIG),
        "layers": [layout.add(layer.blob, LAYER) for layer in layers],
        "annotations": config["Labels"],
    }
    return layout.finish([layout.add(stable(manifest), MANIFEST, platform=platform)])


def join(folders: list[Path], target: Path) -> str:
    """A layout with one image for several architectures, of layouts with one each; returns its digest."""
    layout, manifests = Layout(target), []
    for source in map(Layout, folders):
        for descriptor in source.index()["manifests"]:
            manifest = json.loads(source.blob(descriptor["digest"]))
            for part in [manifest["config"], *manifest["layers"]]:
                layout.add(source.blob(part["digest"]), part["mediaType"])
            layout.add(source.blob(descriptor["digest"]), MANIFEST)
            manifests.append(descriptor)
    manifests.sort(key=lambda descriptor: descriptor["platform"]["architecture"])
    architectures = [descriptor["platform"]["architecture"] for descriptor in manifests]
    if len(set(architectures)) != len(architectures):
        raise ValueError(f"two images of one architecture: {architectures}")
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
    return layout.finish([layout.add(stable(index), INDEX)])
