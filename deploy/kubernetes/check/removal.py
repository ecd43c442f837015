"""Checks of what takes it off the nodes, of the modes before that, and of what reaches every container that works there."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml

import defaults
import render
import server
from common import containers, daemon_set, expect, folders, kubectl
from render import chart_objects


def check_removal_applied(removal: list[dict[str, Any]], default: list[dict[str, Any]]) -> None:
    """Whoever made the agents' DaemonSet, and with whatever: what is applied over it has nothing of theirs."""
    namespace = f"/namespaces/{render.NAMESPACE}/daemonsets"
    with server.serving() as api, tempfile.TemporaryDirectory() as home:
        # As Helm, or a server-side apply, leaves it: kubectl finds nothing that it has applied before.
        for item in (it for it in default if it["kind"] == "DaemonSet"):
            api.objects[f"/apis/apps/v1{namespace}/{item['metadata']['name']}"] = defaults.served(item)
        manifest = Path(home, "manifest.yaml")
        manifest.write_text(yaml.safe_dump_all(removal))
        options = ["--server", api.url, "--cache-dir", f"{home}/cache", "--validate=false"]
        applied = kubectl("apply", *options, "-f", str(manifest), home=Path(home))
        expect(applied.returncode == 0, applied.stderr)
        expect([it[0] for it in api.writes] == ["POST"], f"it is no object of its own: {api.writes}")
        made = json.loads(api.writes[0][2])["spec"]["template"]["spec"]
        expect([it["name"] for it in made["containers"]] == ["clean"], f"{made['containers']}")


def check_removal(removal: list[dict[str, Any]], installed: list[dict[str, Any]]) -> None:
    """It waits on each node for the end of what it removes, and mounts no folder but those that were written to."""
    remover, selects = daemon_set(removal, "flock-netpol-uninstall"), "app.kubernetes.io/name"
    names = {it["metadata"]["name"] for it in removal if it["kind"] == "DaemonSet"}
    expect(names == {"flock-netpol-uninstall"}, f"beside it there are {names}")
    pod = remover["spec"]["template"]["spec"]
    (term,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    expect(term["topologyKey"] == "kubernetes.io/hostname", f"{term}")
    (asked,) = term["labelSelector"]["matchExpressions"]
    expect((asked["key"], asked["operator"]) == (selects, "In"), f"{asked}")
    there: set[str] = set()
    for item in (it for it in installed if it["kind"] == "DaemonSet"):
        own = item["spec"]["template"]["metadata"]["labels"][selects]
        expect(own in asked["values"], f"it does not wait for the end of {own}")
        there |= folders(item)
        for field in ("nodeSelector", "tolerations", "imagePullSecrets"):
            other = item["spec"]["template"]["spec"]
            expect(pod.get(field) == other.get(field), f"{field}: {pod.get(field)}, of {own} {other.get(field)}")
    expect(remover["spec"]["selector"]["matchLabels"][selects] not in asked["values"], "it waits for itself")
    expect(folders(remover) <= there, f"nobody has written to {folders(remover) - there}")
    steps = [it["name"] for it in pod["initContainers"]]
    expect(steps == ["cni", "tables"] + ["unit"] * ("/opt/flock" in there), f"{steps}")


def check_leaving() -> None:
    """Before the agents go, and while they do, no pod is closed for that; and none waits for the plugin."""
    for mode in ("leave", "uninstall"):
        named = dict(containers(chart_objects({"mode": mode, "compiler": {"unreadyPods": "drop"}})))
        expect("--unready-pods=allow" in named["Deployment flock-compiler, compiler"]["args"], f"{mode}: pods are closed")
    installer = dict(containers(chart_objects({"mode": "leave"})))["DaemonSet flock-node-agent, install-cni"]
    expect("--absent" in installer["args"], f"{installer['args']}")
    for values, wanted in (({}, False), ({"drops": False}, True)):
        found = dict(containers(chart_objects(values)))["Deployment flock-compiler, compiler"]["args"]
        expect(("--drops=off" in found) == wanted, f"{values}: {found}")


def check_selinux() -> None:
    """The type reaches every container that writes to the node, and CNI's own counts first where it writes to CNI's folders."""
    for mode in ("run", "uninstall"):
        values = {"mode": mode, "restore": {"install": True}, "seLinuxType": "a_t"}
        for of_cni, wanted in ((None, "a_t"), ("b_t", "b_t")):
            cni = {"cni": {"seLinuxType": of_cni}} if of_cni else {}
            for name, container in containers(chart_objects(values | cni)):
                if name.startswith("DaemonSet "):
                    right = wanted if container["name"] in ("install-cni", "cni", "clean") else "a_t"
                    found = container["securityContext"].get("seLinuxOptions")
                    expect(found == {"type": right}, f"{mode}, {name}: {found}")
