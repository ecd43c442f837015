"""An API server for kubectl apply alone: objects in memory, with defaults, and a list of what was written.

What kubectl sends is decided by kubectl: by its three-way merge of what was applied, what is applied and what is served.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import defaults

# Kinds with their plurals, by group and version.
SERVED = {
    "v1": {
        "Namespace": "namespaces",
        "ServiceAccount": "serviceaccounts",
        "Secret": "secrets",
        "ConfigMap": "configmaps",
        "Service": "services",
        "ResourceQuota": "resourcequotas",
    },
    "apps/v1": {"Deployment": "deployments", "DaemonSet": "daemonsets"},
    "batch/v1": {"Job": "jobs"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
    "rbac.authorization.k8s.io/v1": {
        "ClusterRole": "clusterroles",
        "ClusterRoleBinding": "clusterrolebindings",
        "Role": "roles",
        "RoleBinding": "rolebindings",
    },
    "apiextensions.k8s.io/v1": {"CustomResourceDefinition": "customresourcedefinitions"},
    "cert-manager.io/v1": {"Issuer": "issuers", "Certificate": "certificates"},
    "monitoring.coreos.com/v1": {
        "PodMonitor": "podmonitors",
        "ServiceMonitor": "servicemonitors",
        "PrometheusRule": "prometheusrules",
    },
}

CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}


class Server:
    """What is stored, by path, and what was written: method, path and body."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.url = ""

    def answer(self, method: str, path: str, body: str) -> tuple[int, dict[str, Any]]:
        if path == "/version":
            return 200, {"major": "1", "minor": "37", "gitVersion": "v1.37.0"}
        if path == "/api":
            return 200, {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(it) for it in SERVED if it != "v1"]}
        if (version := path.removeprefix("/apis/").removeprefix("/api/")) in SERVED and method == "GET":
            return 200, _resources(version)
        if method == "GET":
            return (200, self.objects[path]) if path in self.objects else (404, _status(404, "NotFound"))
        self.writes.append((method, path, body))
        if method == "POST":
            item = defaults.served(json.loads(body))
            item["metadata"] |= {"uid": str(len(self.objects)), "resourceVersion": "1", "generation": 1}
            self.objects[f"{path}/{item['metadata']['name']}"] = item
            return 201, item
        return (200, self.objects[path]) if method == "PATCH" else (405, _status(405, "MethodNotAllowed"))


def _status(code: int, reason: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}


def _group(api_version: str) -> dict[str, Any]:
    version = {"groupVersion": api_version, "version": api_version.split("/")[1]}
    return {"name": api_version.split("/")[0], "versions": [version], "preferredVersion": version}


def _resources(api_version: str) -> dict[str, Any]:
    verbs = ["create", "get", "list", "patch", "update"]
    resources = [
        {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": kind not in CLUSTER_WIDE, "verbs": verbs}
        for kind, plural in SERVED[api_version].items()
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources}


@contextmanager
def serving() -> Iterator[Server]:
    """Serves on a loopback port for as long as the block runs."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            code, answer = server.answer(self.command, self.path.partition("?")[0], body)
            text = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
