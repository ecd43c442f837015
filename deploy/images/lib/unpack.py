"""Files of an image, written to a folder."""

from pathlib import Path

from .oci import File


def unpack(files: dict[str, File], folder: Path) -> None:
    for path, file in sorted(files.items()):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.link:
            target.symlink_to(file.link)
        else:
            target.write_bytes(file.content)
            target.chmod(file.mode)
