"""What is in an image, as SPDX 2.3: packages of Debian, our programs, and the crates that are linked into each."""

import hashlib
import re
import subprocess
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .oci import stable
from .rootfs import Image, Root

# By our programs' names: the crates that they are made of.
CRATES = {
    "flock-compiler": "flock-compiler",
    "flockctl": "flockctl",
    "flock-node-agent": "flock-node-agent",
    "flock-node-agent-static": "flock-node-agent",
    "flock-cni": "flock-cni",
}


@dataclass(frozen=True, order=True)
class Crate:
    """A crate as cargo names it; `licence` is an expression of SPDX."""

    name: str
    version: str
    licence: str


@cache
def crates(workspace: Path, crate: str, target: str) -> list[Crate]:
    """The crates that are linked into the programs of `crate`, itself included: neither what only builds, nor what only
    tests."""
    command = ["cargo", "tree", "--locked", "--package", crate, "--edges", "normal,no-proc-macro"]
    command += ["--target", target, "--prefix", "none", "--format", "{p}\t{l}"]
    listed = subprocess.run(command, cwd=workspace, check=True, capture_output=True, text=True).stdout
    found = set()
    for line in listed.splitlines():
        described, _, licence = line.removesuffix(" (*)").partition("\t")
        name, version = described.split()[:2]
        # What crates wrote before SPDX had an operator for it.
        found.add(Crate(name, version.removeprefix("v"), licence.replace("/", " OR ")))
    return sorted(found)


def checksums(workspace: Path) -> dict[tuple[str, str], str]:
    """The SHA-256 of each crate that is not ours, as it came from its registry."""
    lock = tomllib.loads((workspace / "Cargo.lock").read_text())
    return {(it["name"], it["version"]): it["checksum"] for it in lock["package"] if "checksum" in it}


def identifier(*parts: str) -> str:
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", "-".join(parts))


def package(spdx_id: str, name: str, version: str, licence: str, **more) -> dict:
    return {
        "SPDXID": spdx_id,
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": licence or "NOASSERTION",
        "copyrightText": "NOASSERTION",
        **more,
    }


def purl(locator: str) -> dict:
    return {
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": locator,
            }
        ]
    }


def sha256(value: str) -> dict:
    return {"checksums": [{"algorithm": "SHA256", "checksumValue": value}]}


class Document:
    """What is known of an image so far."""

    def __init__(self):
        self.packages: dict[str, dict] = {}
        self.relations: set[tuple[str, str, str]] = set()
        self.licences: list[dict] = []

    def add(self, found: dict) -> str:
        self.packages[found["SPDXID"]] = found
        return found["SPDXID"]

    def relate(self, one: str, how: str, other: str) -> None:
        self.relations.add((one, how, other))

    def debian(self, image: str, root: Root) -> None:
        for deb in root.packages:
            licence = "LicenseRef-" + identifier("debian", deb.name).removeprefix("SPDXRef-")
            self.licences.append(
                {
                    "licenseId": licence,
                    "name": f"the copyright file of Debian's {deb.name}",
                    "extractedText": deb.copyright,
                }
            )
            locator = f"pkg:deb/debian/{deb.name}@{deb.version.replace('+', '%2B')}?arch={deb.architecture}"
            spdx_id = identifier("deb", deb.name)
            self.add(package(spdx_id, deb.name, deb.version, licence, **purl(locator)))
            self.relate(image, "CONTAINS", spdx_id)

    def programs(self, image: str, root: Root, workspace: Path, target: str) -> None:
        sums = checksums(workspace)
        for name, owners in root.linked.items():
            made_of = CRATES[name]
            known = crates(workspace, made_of, target)
            own = next(crate for crate in known if crate.name == made_of)
            content = root.ours[f"usr/local/bin/{name}"].content
            program = package(identifier("program", name), name, own.version, own.licence)
            program |= {"primaryPackagePurpose": "APPLICATION", **sha256(hashlib.sha256(content).hexdigest())}
            self.relate(image, "CONTAINS", self.add(program))
            for crate in known:
                spdx_id = identifier("crate", crate.name, crate.version)
                checksum = sums.get((crate.name, crate.version))
                more = {**purl(f"pkg:cargo/{crate.name}@{crate.version}"), **sha256(checksum)} if checksum else {}
                self.add(package(spdx_id, crate.name, crate.version, crate.licence, **more))
                self.relate(program["SPDXID"], "STATIC_LINK", spdx_id)
            for owner in owners:
                self.relate(program["SPDXID"], "DYNAMIC_LINK", identifier("deb", owner.split(":")[0]))


def sbom(image: Image, root: Root, digest: str, version: str, created: str, workspace: Path, target: str) -> bytes:
    """The document of an image whose manifest has `digest`."""
    made = Document()
    whole = package(identifier("image", image.name), image.name, version, "NOASSERTION")
    whole |= {"primaryPackagePurpose": "CONTAINER", **sha256(digest.removeprefix("sha256:"))}
    made.relate("SPDXRef-DOCUMENT", "DESCRIBES", made.add(whole))
    made.debian(whole["SPDXID"], root)
    made.programs(whole["SPDXID"], root, workspace, target)
    return stable(
        {
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": f"{image.name}-{version}",
            "documentNamespace": f"https://spdx.org/spdxdocs/{image.name}-{version}-{digest.replace(':', '-')}",
            "creationInfo": {
                "created": created,
                "creators": ["Organization: flock-netpol", "Tool: deploy-images-build"],
            },
            "packages": [made.packages[key] for key in sorted(made.packages)],
            "hasExtractedLicensingInfos": made.licences,
            "relationships": [
                {"spdxElementId": one, "relationshipType": how, "relatedSpdxElement": other}
                for one, how, other in sorted(made.relations)
            ],
        }
    )
