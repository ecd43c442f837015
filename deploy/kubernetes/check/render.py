"""The chart is the one source: what else there is of it is rendered here.

`render.py` writes install.yaml, base/, the rendered files of components/ and the chart's copies of deploy/monitoring;
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
ORDER = ["namespace", "crd", "accounts", "certificates", "rbac", "events", "quota", "compiler", "agent", "monitoring"]

HEADER = """\
# flock-netpol: a compiler in two replicas, an agent on every node. Set the images (README), then:
#   kubectl apply -f deploy/kubernetes/install.yaml
#
# Rendered from deploy/kubernetes/chart with its default values by deploy/kubernetes/check/render.py: edit the chart.
#
# Compiler and agents use the network of their nodes, and agents find the compiler without DNS. A pod that no compiler has
# seen yet reaches nothing beyond its node (--unready-pods): neither a compiler nor a DNS server may have to be seen first.

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


def notes(values: dict[str, Any]) -> str:
    rendered = chart().render(values, name="flock-netpol", namespace=NAMESPACE)
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
