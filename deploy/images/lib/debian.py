"""What of the Debian of this machine goes into an image: libraries of programs, and the packages that they are of."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Package:
    """A package of Debian."""

    name: str
    version: str
    architecture: str
    # What dpkg knows of it: a paragraph that scanners of images read.
    status: str
    # Its licences, as Debian ships them.
    copyright: str


def run(*command: str) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout


def libraries(program: Path) -> set[str]:
    """The libraries that a program is linked to, its interpreter included, each as it is called by name."""
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(["ldd", program], capture_output=True, text=True, env=environment)
    if "not a dynamic executable" in done.stderr + done.stdout or "statically linked" in done.stdout:
        return set()
    if done.returncode != 0 or "not found" in done.stdout:
        raise ValueError(f"{program}: its libraries are not all here:\n{done.stdout}{done.stderr}")
    # `libm.so.6 => /lib/…/libm.so.6 (0x…)`, and the interpreter without an arrow. The kernel's own has no path.
    return set(re.findall(r"(/\S+) \(0x", done.stdout))


def place(path: str) -> str:
    """Where a library is in an image: /lib is a link to /usr/lib there too."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)).lstrip("/")


def owners(paths) -> dict[str, str]:
    """The package that each file is of."""
    # dpkg knows some by the path that they had before /lib became a link.
    names, found = {}, {}
    for path in paths:
        real = os.path.realpath(path)
        names[path] = {path, real, real.removeprefix("/usr"), path.removeprefix("/usr")}
    asked = sorted(set().union(*names.values()))
    # It fails where it knows not all of the names, which is so each time.
    listed = subprocess.run(["dpkg-query", "-S", *asked], capture_output=True, text=True).stdout
    for line in listed.splitlines():
        package_, _, name = line.partition(": ")
        found[name] = package_.split(",")[0]
    unknown = [path for path in names if not names[path] & set(found)]
    if unknown:
        raise ValueError(f"of no package: {', '.join(unknown)}")
    return {path: next(found[name] for name in sorted(names[path]) if name in found) for path in names}


def package(name: str) -> Package:
    """A package that is installed."""
    fields = "${Package}\t${Version}\t${Architecture}"
    short, version, architecture = run("dpkg-query", "-W", "-f", fields, name).split("\t")
    kept = Path("/usr/share/doc", short, "copyright")
    # Machines may be set to leave documentation out.
    copyright_ = f"that of Debian's package {short} {version}\n"
    if kept.exists():
        copyright_ = kept.read_text(encoding="utf-8", errors="replace")
    return Package(short, version, architecture, run("dpkg-query", "-s", name), copyright_)
