"""The chart is the one source: what else there is of it is rendered here.

`render.py` writes install.yaml and what stands beside it, base/, the rendered files of components/ and the chart's copies of
deploy/monitoring;
`render.py --check` says which of them are not what they should be. Pure but for the last function.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import helm_python
import yaml

HERE = Path(__file__).resolve().parent
KUBERNETES = HERE.parent
CHART = KUBERNETES / "chart"
NAMESPACE = "flock-system"

# Templates in the order in which an API server should see their objects.
ORDER = ["namespace", "crd", "accounts", "certificates", "rbac", "events", "quota", "compiler", "agent", "uninstall", "restore"]
ORDER += ["monitoring"]

HEADER = """\
# flock-netpol: a compiler in two replicas, an agent on every node. Set the images, unless it is a release's, then:
#   kubectl apply -f deploy/kubernetes/install.yaml
#
# Rendered from deploy/kubernetes/chart with its default values by deploy/kubernetes/check/render.py: edit the chart.
#
# Compiler and agents use the network of their nodes, and agents find the compiler without DNS: a pod that no compiler has seen
# yet may be closed (--unready-pods), and neither a compiler nor a DNS server may have to be seen first.

"""

UNINSTALL_HEADER = """\
# Takes everything of flock-netpol off the nodes once their agents have gone. Which steps come before and after:
# deploy/life.md, "Remove". With Helm it is the value mode, not this file.
#   kubectl apply -f deploy/kubernetes/{file}
#   kubectl -n flock-system delete daemonset flock-node-agent
#   kubectl -n flock-system rollout status daemonset/flock-netpol-uninstall     # done: every node is clean
#
# {about}
# Rendered from deploy/kubernetes/chart by deploy/kubernetes/check/render.py. Whoever has changed paths (--conf-dir,
# --state-dir) or the image in install.yaml changes them here, too.
#
# A pod of it starts once no agent is left on its node. It is ready once its init containers have ended well, in this order;
# what fails is tried again, and nothing after it is begun. Each has the rights of its step only.
"""

RESTORE_HEADER = """\
# Opt-in, beside install.yaml: every node restores the ruleset that its agent saved before kubelet starts a pod. For that it puts
# a unit of systemd on the host, and what that runs as root into /opt/flock: read deploy/SECURITY.md first.
#   kubectl apply -f deploy/kubernetes/restore.yaml
# With Helm it is the value restore.install, not this file. Rendered from deploy/kubernetes/chart by
# deploy/kubernetes/check/render.py. To take it out again, put uninstall-restore in the place of install-restore, apply, and
# delete the DaemonSet once each of its pods has said what it removed; with everything else, uninstall-restore.yaml does it.
"""

RENDERED = "# Rendered from deploy/kubernetes/chart by deploy/kubernetes/check/render.py: edit the chart.\n"


@functools.cache
def chart_folder() -> str:
    """A copy of the chart, in a folder of its name."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    return shutil.copytree(CHART, f"{folder}/flock-netpol")


@functools.cache
def chart() -> helm_python.Chart:
    return helm_python.Chart.load(chart_folder())


def templates(values: dict[str, Any], namespace: str = NAMESPACE) -> dict[str, str]:
    """The text of each template that renders to anything, by its name, in the order of `ORDER`."""
    rendered = chart().render(values, name="flock-netpol", namespace=namespace)
    texts = {Path(path).stem: text.strip("\n").removeprefix("---\n") for path, text in rendered.items()}
    return {name: tidy(texts[name]) for name in ORDER if texts.get(name, "").strip()}


def notes(values: dict[str, Any], namespace: str = NAMESPACE) -> str:
    rendered = chart().render(values, name="flock-netpol", namespace=namespace)
    return next(text for path, text in rendered.items() if path.endswith("NOTES.txt"))


def tidy(text: str) -> str:
    """Without the empty lines that template actions leave behind."""
    return "\n".join(line.rstrip() for line in text.split("\n") if line.strip()) + "\n"


# libyaml's, where there is one: most of the time goes into reading YAML.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def objects(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.load_all(text, LOADER) if document]


def chart_objects(values: dict[str, Any], namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    return [it for text in templates(values, namespace).values() for it in objects(text)]


def copied_files() -> dict[Path, str]:
    """What the chart has of deploy/monitoring: a chart reads no file from beside it, and not every checkout has links."""
    names = ["podmonitor.yaml", "rules.yaml", "dashboard.json"]
    return {CHART / "files" / name: (KUBERNETES.parent / "monitoring" / name).read_text() for name in names}


def rendered_files() -> dict[Path, str]:
    """Every file that is rendered, and what it has to hold."""
    default = templates({"namespace": {"create": True}})
    files = {KUBERNETES / "install.yaml": HEADER + "---\n".join(default.values())}
    for name, text in default.items():
        files[KUBERNETES / "base" / f"{name}.yaml"] = RENDERED + text
    about = {
        "uninstall.yaml": "Where restore.yaml was applied, take uninstall-restore.yaml in its place.",
        "uninstall-restore.yaml": "As uninstall.yaml, and it takes out the unit that restore.yaml has put on the hosts.",
    }
    for file, text in about.items():
        values = {"mode": "uninstall", "restore": {"install": file == "uninstall-restore.yaml"}}
        header = UNINSTALL_HEADER.format(file=file, about=text)
        files[KUBERNETES / file] = header + templates(values)["uninstall"]
    files[KUBERNETES / "components/uninstall/uninstall.yaml"] = RENDERED + templates({"mode": "uninstall"})["uninstall"]
    files[KUBERNETES / "restore.yaml"] = RESTORE_HEADER + templates({"restore": {"install": True}})["restore"]
    certificates = templates({"tls": {"source": "certManager"}})["certificates"]
    files[KUBERNETES / "components/cert-manager/certificates.yaml"] = RENDERED + certificates
    events = templates({"events": True})["events"]
    files[KUBERNETES / "components/events/rbac.yaml"] = RENDERED + events
    return files


def main(arguments: list[str]) -> int:
    stale = []
    # Those that are copied come first: the chart is rendered with them.
    for files in (copied_files, rendered_files):
        for path, text in files().items():
            if path.exists() and path.read_text() == text:
                continue
            stale.append(path.relative_to(KUBERNETES))
            if arguments != ["--check"]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                print(f"wrote {path}")
    if arguments == ["--check"] and stale:
        print("not what the chart renders: " + ", ".join(map(str, stale)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
