"""Checks of everything that is given to a cluster, without one. `check.py BIN` takes the programs from the folder BIN.

One line for each check; the last says how many passed and failed.
"""

from __future__ import annotations

import copy
import functools
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helm_python
import yaml

import defaults
import removal
import render
import schemas
import server
from common import Fault, containers, expect, kubectl, pods
from render import KUBERNETES, chart_objects, objects

VALUES = KUBERNETES / "check" / "values"
MONITORING = KUBERNETES.parent / "monitoring"
RELEASE = KUBERNETES.parent / "release" / "manifests"
OVERLAYS = sorted(path.parent.name for path in KUBERNETES.glob("overlays/*/kustomization.yaml"))

# Values that no chart should take, and what it has to say of them.
REFUSED = {
    "compiler: {replica: 3}": "additional properties 'replica' not allowed",
    "events: {create: true}": "at '/events': got object, want boolean",
    "dropped: true": "additional properties 'dropped' not allowed",
    "drops: 'off'": "at '/drops': got string, want boolean",
    "mode: off": "at '/mode': got boolean, want string",
    "mode: remove": "value must be one of 'run', 'leave', 'uninstall'",
    "seLinuxType: {type: spc_t}": "at '/seLinuxType': got object, want string",
    "restore: true": "at '/restore': got boolean, want object",
    'compiler: {replicas: "2"}': "at '/compiler/replicas': got string, want integer",
    "compiler: {replicas: 0}": "at '/compiler/replicas': minimum",
    "compiler: {ports: {grpc: 70000}}": "at '/compiler/ports/grpc': maximum",
    "compiler: {ports: {grpc: 7444}}": "each is a port of the node",
    "compiler: {unreadyPods: closed}": "value must be one of 'expected', 'drop', 'allow'",
    "compiler: {hostIface: sha1}": "at '/compiler/hostIface'",
    "compiler: {attachWait: 1m}": "at '/compiler/attachWait'",
    "compiler: {image: {digest: latest}}": "at '/compiler/image/digest'",
    "compiler: {extraArgs: --log=debug}": "at '/compiler/extraArgs': got string, want array",
    "compiler: {extraEnv: [{FLOCK_LOG: debug}]}": "missing property 'name'",
    "agent: {maxUnavailable: 0}": "at '/agent/maxUnavailable'",
    "agent: {stateDir: var/lib/flock}": "at '/agent/stateDir'",
    "agent: {tolerations: [{operator: Exits}]}": "value must be one of 'Exists', 'Equal'",
    "cni: {onTimeout: ignore}": "value must be one of 'continue', 'fail'",
    "cni: {timeoutMs: 0}": "at '/cni/timeoutMs'",
    "cni: {mountDir: /var/lib/rancher/k3s}": "cni.binDir /opt/cni/bin is not in cni.mountDir",
    "tls: {source: none}": "value must be one of 'self', 'certManager', 'existingSecret'",
    "tls: {source: existingSecret}": "needs tls.existingSecret.name",
    "tls: {existingSecret: {name: mine}}": "say tls.source: existingSecret",
    "tls: {caBundle: '-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n'}": "tls.caBundle is given",
    "tls: {source: certManager, caBundle: /etc/ca.crt}": "at '/tls/caBundle'",
    "rbac: {viewers: [{kind: User, name: anne, namespace: ops}]}": "at '/rbac/viewers/0/namespace'",
    "rbac: {viewers: [{kind: Team, name: ops}]}": "value must be one of 'User', 'Group', 'ServiceAccount'",
    "metrics: {podMonitor: {create: perhaps}}": "at '/metrics/podMonitor/create': got string, want boolean",
}

# Components that say how far it is on its way out, and go with each of the others by itself.
LEAVING = {"leave", "uninstall"}

# What containers may add to none, by their names.
FOLDERS = {"DAC_OVERRIDE", "CHOWN", "FOWNER"}
CAPABILITIES = {"agent": {"NET_ADMIN"}, "install-cni": FOLDERS, "tables": {"NET_ADMIN"}, "cni": FOLDERS, "clean": FOLDERS}


# The last command that the notes give.
NOTES_END = {
    "run": "kubectl flock check --wait 2m{option}",
    "leave": "--set mode=uninstall",
    "uninstall": "helm uninstall flock-netpol -n {namespace}",
}


@functools.cache
def kustomized(folder: Path) -> list[dict[str, Any]]:
    built = kubectl("kustomize", str(folder))
    expect(built.returncode == 0, built.stderr)
    return objects(built.stdout)


def by_name(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {f"{it['kind']} {it['metadata']['name']}": in_order(it) for it in items}


def in_order(node: Any, name: str = "") -> Any:
    """The same, with lists that are merged by a key in the order of their keys: order says nothing there."""
    if isinstance(node, dict):
        return {key: in_order(value, key) for key, value in node.items()}
    if isinstance(node, list):
        key = {"env": "name", "volumes": "name", "volumeMounts": "mountPath"}.get(name)
        items = [in_order(it) for it in node]
        return sorted(items, key=lambda it: it[key]) if key else items
    return node


def same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    left, right = by_name(found), by_name(wanted)
    expect(len(left) == len(found), "an object is there twice")
    expect(left.keys() == right.keys(), f"objects differ: {sorted(left.keys() ^ right.keys())}")
    for name, item in left.items():
        for path, one, other in differences(item, right[name]):
            raise Fault(f"{name} {path}: {one!r}, in the chart {other!r}")


def differences(one: Any, other: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            yield from differences(one.get(key), other.get(key), f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, pair in enumerate(zip(one, other)):
            yield from differences(*pair, f"{path}[{at}]")
    elif one != other:
        yield path, one, other


def value_sets() -> dict[str, dict[str, Any]]:
    files = sorted(VALUES.glob("**/*.yaml"))
    return {"defaults": {}} | {str(it.relative_to(VALUES)): yaml.safe_load(it.read_text()) for it in files}


def renderings() -> dict[str, list[dict[str, Any]]]:
    """Everything that is given to a cluster, by what it is called."""
    by_chart = {f"chart, {name}": chart_objects(values) for name, values in value_sets().items()}
    by_hand = {it.name: objects(it.read_text()) for it in sorted(KUBERNETES.glob("*.yaml"))}
    overlays = {f"overlay {it}": kustomized(KUBERNETES / "overlays" / it) for it in OVERLAYS}
    return by_hand | overlays | by_chart


def check_rendered() -> None:
    for path, text in (render.copied_files() | render.rendered_files()).items():
        expect(path.exists() and path.read_text() == text, f"{path.name}: run deploy/test manifests render")
    same(objects((KUBERNETES / "install.yaml").read_text()), chart_objects({"namespace": {"create": True}}))
    same(kustomized(KUBERNETES / "base"), objects((KUBERNETES / "install.yaml").read_text()))


def check_overlay(name: str) -> None:
    values = yaml.safe_load((VALUES / "overlays" / f"{name}.yaml").read_text())
    same(kustomized(KUBERNETES / "overlays" / name), chart_objects({"namespace": {"create": True}} | values))


def check_components(overlays: list[str]) -> None:
    """Components together, on images by digest, in another registry."""
    with tempfile.TemporaryDirectory(dir=KUBERNETES) as folder:
        images = [
            {"name": "flock-compiler", "newName": "ghcr.io/example/flock-compiler", "digest": f"sha256:{1:064}"},
            {"name": "flock-node-agent", "newName": "ghcr.io/example/flock-node-agent", "digest": f"sha256:{2:064}"},
        ]
        components = [f"../components/{it}" for it in reversed(overlays)]
        text = yaml.safe_dump({"resources": ["../base"], "components": components, "images": images})
        Path(folder, "kustomization.yaml").write_text(text)
        found = kustomized(Path(folder))
    values: dict[str, Any] = {"namespace": {"create": True}}
    for name in overlays:
        merge(values, yaml.safe_load((VALUES / "overlays" / f"{name}.yaml").read_text()))
    merge(values, yaml.safe_load((VALUES / "digests.yaml").read_text()))
    values["image"] = {"registry": "ghcr.io/example"}
    same(found, chart_objects(values))


def merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)


def check_schema(items: list[dict[str, Any]], release: str) -> None:
    for item in items:
        for fault in schemas.faults(release, item):
            raise Fault(f"{item['kind']} {item['metadata']['name']}: {fault}")


def check_schemas_refuse(items: list[dict[str, Any]]) -> None:
    """The check itself: a field that is misspelt is refused by every release."""
    broken = copy.deepcopy(next(it for it in items if it["kind"] == "DaemonSet"))
    broken["spec"]["template"]["spec"]["hostNetworks"] = True
    for release in schemas.releases():
        expect(bool(schemas.faults(release, broken)), f"{release} takes a field that there is not")


def check_refused(values: str, message: str) -> None:
    try:
        chart_objects(yaml.safe_load(values))
    except helm_python.HelmError as error:
        expect(message in str(error), f"says: {error}")
    else:
        raise Fault("is taken")


def check_lint() -> None:
    for name, values in value_sets().items():
        report = helm_python.lint(render.chart_folder(), values, strict=True, namespace=render.NAMESPACE, kube_version="v1.30.0")
        findings = [it for it in report["messages"] if it["error"] != "icon is recommended"]
        expect(not findings and not report["errors"], f"{name}: {findings} {report['errors']}")


def check_package() -> None:
    """A package renders what the folder does, with all that the templates read, and holds nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        package = helm_python.package(render.chart_folder(), destination=folder)
        with tarfile.open(package) as archive:
            files = {it.partition("/")[2] for it in archive.getnames()}
        values = value_sets()["monitoring.yaml"]
        with helm_python.Chart.load_archive(Path(package).read_bytes()) as chart:
            rendered = chart.render(values, name="flock-netpol", namespace=render.NAMESPACE)
    same(objects("\n---\n".join(it for name, it in rendered.items() if name.endswith(".yaml"))), chart_objects(values))
    read = {f"files/{it}" for it in ("dashboard.json", "podmonitor.yaml", "rules.yaml")}
    expect({it for it in files if it.startswith("files/")} == read, f"the package holds {sorted(files)}")
    expect("README.md" in files, "a package without a README")


def check_release() -> None:
    """The chart that a release publishes installs its images without a value, and so do the manifests beside it."""
    registry, compiler, agent = "ghcr.io/example", f"sha256:{1:064}", f"sha256:{2:064}"
    values = {"image": {"registry": registry}, "compiler": {"image": {"digest": compiler}}, "agent": {"image": {"digest": agent}}}
    with tempfile.TemporaryDirectory() as folder:
        options = ["--registry", registry, "--compiler", compiler, "--agent", agent]
        written = [sys.executable, str(RELEASE), *options, "--chart", f"{folder}/charts", "--output", f"{folder}/dist"]
        made = subprocess.run(written, capture_output=True, text=True)
        expect(made.returncode == 0, made.stderr)
        package = Path(helm_python.package(f"{folder}/charts/flock-netpol", destination=folder))
        with helm_python.Chart.load_archive(package.read_bytes()) as chart:
            rendered = chart.render({}, name="flock-netpol", namespace=render.NAMESPACE)
        same(objects("\n---\n".join(it for name, it in rendered.items() if name.endswith(".yaml"))), chart_objects(values))
        install = objects(Path(folder, "dist/install.yaml").read_text())
    same(install, chart_objects(values | {"namespace": {"create": True}}))


def check_version() -> None:
    """The chart installs the programs that it was made with."""
    cargo = (KUBERNETES / "../../Cargo.toml").read_text()
    version = re.search(r'^version = "(.*)"', cargo, re.M)
    chart = yaml.safe_load((render.CHART / "Chart.yaml").read_text())
    expect(version is not None and chart["version"] == chart["appVersion"] == version[1], "Chart.yaml and Cargo.toml differ")


def check_notes() -> None:
    for name, values in value_sets().items():
        for namespace in (render.NAMESPACE, "elsewhere"):
            text = render.notes(values, namespace)
            option = "" if namespace == render.NAMESPACE else f" --compiler-namespace {namespace}"
            for line in re.findall(r"^    (kubectl flock .*|kubectl -n .*)$", text, re.M):
                expect(line.startswith("kubectl -n") or line.endswith(option), f"{name}: {line}")
            ends = NOTES_END[values.get("mode", "run")].format(option=option, namespace=namespace)
            expect(text.rstrip().endswith(ends), f"{name}: {text}")
            expect("helm uninstall" in text, f"{name}: does not say how to be rid of it")
            chosen = set(values.get("agent", {}).get("nodeSelector", {})) - {"kubernetes.io/os"}
            expect(("have no agent" in text) == bool(chosen), f"{name}: {text}")


class Program:
    """The options and variables of a program, as its help has them."""

    def __init__(self, command: list[str]) -> None:
        expect(Path(command[0]).exists(), f"{command[0]} is not built")
        told = subprocess.run([*command, "--help"], capture_output=True, text=True)
        expect(told.returncode == 0, f"{command}: {told.stderr}")
        self.options = set(re.findall(r"(?<![\w-])--[a-z0-9-]+", told.stdout))
        self.variables = set(re.findall(r"\[env: ([A-Z0-9_]+)=", told.stdout))


def check_programs(programs: Path, items: list[dict[str, Any]], known: dict[tuple[str, ...], Program]) -> None:
    """Every flag and every FLOCK_ variable is one of the program that is started with it."""
    for name, container in containers(items):
        image = re.split("[:@]", container["image"].rpartition("/")[2])[0]
        arguments = container.get("command", [])[1:] + container.get("args", [])
        words = [it for it in arguments if not it.startswith("-")][:1]
        command = (str(programs / image), *(words if arguments[:1] == words else []))
        if command not in known:
            known[command] = Program(list(command))
        program = known[command]
        for argument in arguments + [it for command in commands(container) for it in command[1:]]:
            option = argument.partition("=")[0]
            expect(not option.startswith("-") or option in program.options, f"{name}: {command} has no {option}")
        for variable in container.get("env", []):
            is_ours = variable["name"].startswith("FLOCK_")
            expect(not is_ours or variable["name"] in program.variables, f"{name}: {command} reads no {variable['name']}")


def commands(container: dict[str, Any]) -> list[list[str]]:
    """What probes start in a container."""
    probes = [probe for kind, probe in container.items() if kind.endswith("Probe")]
    return [probe["exec"]["command"] for probe in probes if "exec" in probe]


def check_rest(items: list[dict[str, Any]]) -> None:
    """Applied again, by either side, nothing is changed or contested."""
    for item in items:
        for fault in schemas.unsettled(item, defaults.served(item), schemas.releases()[-1]):
            raise Fault(f"{item['kind']} {item['metadata']['name']}{fault}")


def apply_twice(items: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """What the second kubectl apply of the same objects writes."""
    with server.serving() as api, tempfile.TemporaryDirectory() as home:
        manifest = Path(home, "manifest.yaml")
        manifest.write_text(yaml.safe_dump_all(items))
        for _ in range(2):
            api.writes.clear()
            options = ["--server", api.url, "--cache-dir", f"{home}/cache", "--validate=false"]
            applied = kubectl("apply", *options, "-f", str(manifest), home=Path(home))
            expect(applied.returncode == 0, applied.stderr)
            expect(not applied.stderr, f"kubectl says: {applied.stderr}")
        # kubectl writes the selector of a budget each time (its strategy is to replace it, without a look); the same
        # selector is no change.
        return [it for it in api.writes if not is_selector_of_budget(it, api.objects)]


def is_selector_of_budget(write: tuple[str, str, str], stored: dict[str, dict[str, Any]]) -> bool:
    method, path, body = write
    if method != "PATCH" or "/poddisruptionbudgets/" not in path:
        return False
    return json.loads(body) == {"spec": {"selector": stored[path]["spec"]["selector"]}}


def union(items: list[dict[str, Any]], others: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All of both, those of the first where both have one."""
    named = {(it["kind"], it["metadata"]["name"]): it for it in others + items}
    return list(named.values())


def check_applied_twice(items: list[dict[str, Any]]) -> None:
    writes = apply_twice(items)
    expect(not writes, f"the second apply writes {writes}")


def check_rest_is_noticed(items: list[dict[str, Any]]) -> None:
    """The checks themselves: without what the server writes by itself, they fail."""
    deployment = copy.deepcopy(next(it for it in items if it["kind"] == "Deployment"))
    del deployment["spec"]["strategy"]["type"]
    expect(bool(apply_twice([deployment])), "kubectl is at rest without strategy.type")
    release = schemas.releases()[-1]
    expect("retainKeys" in next(schemas.unsettled(deployment, defaults.served(deployment), release), ""), "retainKeys")
    agent = copy.deepcopy(next(it for it in items if it["kind"] == "DaemonSet"))
    pod = agent["spec"]["template"]["spec"]
    del pod["containers"][0]["env"][0]["valueFrom"]["fieldRef"]["apiVersion"]
    expect("fieldRef: atomic" in next(schemas.unsettled(agent, defaults.served(agent), release), ""), "fieldRef")
    pod["containers"][0]["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
    token = next(it for it in pod["volumes"] if it["name"] == "token")
    del token["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"]
    expect("sources" in next(schemas.unsettled(agent, defaults.served(agent), release), ""), "sources")


def check_least_rights(items: list[dict[str, Any]], privileged: bool) -> None:
    """No container has more than it needs, and every one has limits of memory."""
    for name, container in containers(items):
        context = container["securityContext"]
        expect(context.get("readOnlyRootFilesystem") is True, f"{name}: its root can be written to")
        if context.get("privileged"):
            expect(privileged and name.endswith("agent, agent"), f"{name}: is privileged")
            continue
        expect(context.get("allowPrivilegeEscalation") is False, f"{name}: may gain privileges")
        expect(context["capabilities"]["drop"] == ["ALL"], f"{name}: has capabilities")
        expect(context["seccompProfile"] == {"type": "RuntimeDefault"}, f"{name}: no seccomp")
        allowed = CAPABILITIES.get(container["name"], set())
        expect(set(context["capabilities"].get("add", [])) <= allowed, f"{name}: {context['capabilities']}")
    for name, pod in pods(items):
        if name.startswith("DaemonSet "):
            expect(pod["automountServiceAccountToken"] is False, f"{name}: has a token for the API server")
        secrets = [it["secret"]["secretName"] for it in pod.get("volumes", []) if "secret" in it]
        expect(name != "DaemonSet flock-node-agent" or set(secrets) <= {"flock-compiler-ca"}, f"{name}: mounts {secrets}")


def check_probes(items: list[dict[str, Any]]) -> None:
    """Probes go to where the program listens; what listens on loopback is probed there. What keeps the plugin installed is
    asked, with its own options, whether it is."""
    for name, container in containers(items):
        ports = {it["name"]: it["containerPort"] for it in container.get("ports", [])}
        listens = [it.partition("=")[2] for it in container.get("args", []) if "-listen=" in it]
        probes = [probe for kind, probe in container.items() if kind.endswith("Probe") and "exec" not in probe]
        asked = [["flock-node-agent", *container["args"], "--probe"]] if container["name"] == "install-cni" else []
        expect(commands(container) == asked, f"{name}: is asked {commands(container)}")
        expect(bool(probes) == bool(listens), f"{name}: listens at {listens} and has {len(probes)} probes")
        for probe in probes:
            get = probe["httpGet"]
            port = ports.get(get["port"], get["port"])
            expect(port in {int(it.rpartition(":")[2]) for it in listens}, f"{name}: nothing listens at {get['port']}")
            is_loopback = f"127.0.0.1:{port}" in listens
            expect((get.get("host") == "127.0.0.1") == is_loopback, f"{name}: {get}")


def check_selectors(everything: dict[str, list[dict[str, Any]]]) -> None:
    """A selector can never be changed, so no value changes it; and it selects the pods of its workload."""
    seen: dict[str, Any] = {}
    for name, items in everything.items():
        for item in items:
            if "template" not in item.get("spec", {}) or "selector" not in item["spec"]:
                continue
            key, selector = f"{item['kind']} {item['metadata']['name']}", item["spec"]["selector"]
            expect(seen.setdefault(key, selector) == selector, f"{name}: selector of {key}")
            labels = item["spec"]["template"]["metadata"]["labels"]
            expect(selector["matchLabels"].items() <= labels.items(), f"{name}: {key} selects other pods")


def check_budget(items: list[dict[str, Any]]) -> None:
    (budget,) = [it["spec"] for it in items if it["kind"] == "PodDisruptionBudget"]
    policy = budget.get("unhealthyPodEvictionPolicy")
    expect(policy == "AlwaysAllow", f"a compiler that is not ready holds up drains: {policy}")


def check_ports(items: list[dict[str, Any]]) -> None:
    """The table of ports, for firewalls, has those of the manifest and no others."""
    text = (KUBERNETES.parent / "README.md").read_text().partition("| port, TCP |")[2].partition("\n\n")[0]
    told = {int(it) for it in re.findall(r"^\| (\d+) \|", text, re.M)}
    listened = [it for _, container in containers(items) for it in container.get("args", []) if "-listen=" in it]
    expect(told == {int(it.rpartition(":")[2]) for it in listened}, f"told {told}, listened at {listened}")


def check_paths() -> None:
    """The folders that values are tried with are those that texts tell."""
    texts = [KUBERNETES.parent / "life.md", KUBERNETES / "../../node-agent/cni/README.md", render.CHART / "values.yaml"]
    for value in (value_sets()["k3s.yaml"]["cni"]["binDir"], "/home/kubernetes/bin"):
        for path in texts:
            expect(value in path.read_text(), f"{path.name} does not name {value}")


def check_quota(items: list[dict[str, Any]]) -> None:
    classes = {pod.get("priorityClassName") for _, pod in pods(items)} - {None}
    for item in items:
        if item["kind"] == "ResourceQuota":
            named = set(item["spec"]["scopeSelector"]["matchExpressions"][0]["values"])
            expect(named == classes, f"the quota is for {named}, pods have {classes}")
            return
    raise Fault("there is no quota")


def metrics_of_code() -> set[str]:
    """Every word that the compiler's code could call a metric by. (A metric that nothing was counted in yet is not shown.)"""
    sources = (KUBERNETES / "../../compiler/src").resolve()
    texts = [it.read_text() for it in sorted(sources.rglob("*.rs"))]
    text = "".join(it for it in texts if re.search(r"\bregister|encode_descriptor", it))
    return set(re.findall(r'"([a-z][a-z0-9_]*)"', text))


def unknown_metrics(text: str, known: set[str]) -> set[str]:
    """Metrics that a text names and no code does: a name ends in what its type and its unit add to it."""
    added = ["", "_total", "_bucket", "_count", "_sum", "_info"]
    endings = [unit + ending for unit in ["", "_seconds", "_bytes"] for ending in added]
    names = set(re.findall(r"\bflock_compiler_([a-z0-9_]+)", text))
    return {it for it in names if not any(it.endswith(end) and it[: len(it) - len(end)] in known for end in endings)}


def check_metrics() -> None:
    """Rules and dashboard ask for metrics that there are."""
    known = metrics_of_code()
    expect(unknown_metrics("flock_compiler_made_up_total", known) == {"made_up_total"}, "any name is taken")
    for name in ("rules.yaml", "dashboard.json"):
        unknown = unknown_metrics((MONITORING / name).read_text(), known)
        expect(not unknown, f"{name}: no code has {sorted(unknown)}")


def check_namespace() -> None:
    """Nothing says flock-system where the release is elsewhere, be it in a namespace that YAML takes for a number."""
    for name, values in value_sets().items():
        items = chart_objects(values, namespace="1e3")
        check_schema(items, schemas.releases()[-1])
        text = json.dumps(items)
        expect("flock-system" not in text, f"{name}: {re.findall('.{40}flock-system.{20}', text)}")


def checks(programs: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    yield "install.yaml, base and components are what the chart renders", check_rendered
    for name in OVERLAYS:
        yield f"overlay {name} is what the chart renders", lambda name=name: check_overlay(name)
    together = [it for it in OVERLAYS if it not in LEAVING]
    for names in (together, *([it] for it in sorted(LEAVING))):
        yield f"components together, images by digest: {names}", lambda names=names: check_components(names)
    everything = renderings()
    default = everything["install.yaml"]
    for release in schemas.releases():
        for name, items in everything.items():
            yield f"schemas of {release}: {name}", lambda items=items, release=release: check_schema(items, release)
    yield "schemas refuse what is misspelt", lambda: check_schemas_refuse(default)
    known: dict[tuple[str, ...], Program] = {}
    for name, items in everything.items():
        yield f"programs have the options: {name}", lambda items=items: check_programs(programs, items, known)
        yield f"at rest once applied: {name}", lambda items=items: check_rest(items)
        yield f"probes: {name}", lambda items=items: check_probes(items)
        privileged = name == "chart, k3s.yaml"
        yield f"least rights: {name}", lambda items=items, it=privileged: check_least_rights(items, it)
    yield "kubectl apply twice", lambda: check_applied_twice(union(default, everything["chart, monitoring.yaml"]))
    yield "what is not at rest is noticed", lambda: check_rest_is_noticed(default)
    for name in ("uninstall.yaml", "uninstall-restore.yaml"):
        yield f"{name} over agents of Helm's", lambda name=name: removal.check_removal_applied(everything[name], default)
    restoring = default + everything["restore.yaml"]
    yield "removal: uninstall.yaml", lambda: removal.check_removal(everything["uninstall.yaml"], default)
    yield "removal: uninstall-restore.yaml", lambda: removal.check_removal(everything["uninstall-restore.yaml"], restoring)
    yield "removal: overlay", lambda: removal.check_removal(everything["overlay uninstall"], default)
    leaving = value_sets()["uninstall.yaml"]
    yield "removal: chart", lambda: removal.check_removal(chart_objects(leaving), chart_objects(leaving | {"mode": "run"}))
    yield "leaving", removal.check_leaving
    yield "budget", lambda: check_budget(default)
    yield "ports: README.md", lambda: check_ports(default)
    yield "folders of other runtimes", check_paths
    yield "SELinux", removal.check_selinux
    yield "selectors", lambda: check_selectors(everything)
    yield "the quota names the priority classes: install.yaml", lambda: check_quota(default)
    yield "the quota names the priority classes: everything.yaml", lambda: check_quota(everything["chart, everything.yaml"])
    for values, message in REFUSED.items():
        yield f"refused: {values!r}", lambda values=values, message=message: check_refused(values, message)
    yield "lint", check_lint
    yield "package", check_package
    yield "package of a release", check_release
    yield "version", check_version
    yield "notes", check_notes
    yield "another namespace", check_namespace
    yield "metrics of rules and dashboard", check_metrics


def main(arguments: list[str]) -> int:
    began, passed, failed = time.monotonic(), 0, 0
    for name, check in checks(Path(arguments[0]).resolve()):
        try:
            check()
            passed += 1
        except Fault as fault:
            failed += 1
            print(f"FAILED {name}: {fault}", flush=True)
    print(f"manifests: {time.monotonic() - began:.1f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
