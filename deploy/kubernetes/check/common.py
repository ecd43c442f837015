"""What all checks share: how one fails, kubectl, and what is looked at of objects."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KUBECTL = Path(sys.executable).with_name("kubectl")


class Fault(Exception):
    """What is wrong."""


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise Fault(what)


def kubectl(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home or "/nonexistent"), "PATH": os.environ["PATH"]}
    return subprocess.run([KUBECTL, *arguments], capture_output=True, text=True, env=environment)


def pods(items: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for item in items:
        if "template" in item.get("spec", {}):
            yield f"{item['kind']} {item['metadata']['name']}", item["spec"]["template"]["spec"]


def containers(items: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods(items):
        for container in pod.get("initContainers", []) + pod["containers"]:
            yield f"{name}, {container['name']}", container


def daemon_set(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    found = [it for it in items if (it["kind"], it["metadata"]["name"]) == ("DaemonSet", name)]
    expect(len(found) == 1, f"{len(found)} DaemonSets {name}")
    return found[0]


def folders(item: dict[str, Any]) -> set[str]:
    """What a workload has of its node."""
    return {it["hostPath"]["path"] for it in item["spec"]["template"]["spec"]["volumes"] if "hostPath" in it}
