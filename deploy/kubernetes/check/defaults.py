"""What an API server writes into the objects that we have and that do not say it: the defaults of its types.

They are those of k8s.io/kubernetes/pkg/apis/*/v1/defaults.go; only kinds and fields that the manifests use are here, and
`served` refuses a kind that it does not know.
"""

from __future__ import annotations

import copy
from typing import Any


def _set(target: dict[str, Any], **fields: Any) -> None:
    for name, value in fields.items():
        target.setdefault(name, value)


def _probe(probe: dict[str, Any]) -> None:
    _set(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    if "httpGet" in probe:
        _set(probe["httpGet"], path="/", scheme="HTTP")


def _container(container: dict[str, Any], host_network: bool) -> None:
    name = container["image"].rpartition("/")[2]
    is_latest = "@" not in name and (":" not in name or name.endswith(":latest"))
    _set(
        container,
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy="Always" if is_latest else "IfNotPresent",
        resources={},
    )
    for port in container.get("ports", []):
        _set(port, protocol="TCP")
        if host_network:
            _set(port, hostPort=port["containerPort"])
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        if kind in container:
            _probe(container[kind])
    for variable in container.get("env", []):
        if field := variable.get("valueFrom", {}).get("fieldRef"):
            _set(field, apiVersion="v1")
    limits = container["resources"].get("limits", {})
    for name, value in limits.items():
        container["resources"].setdefault("requests", {}).setdefault(name, value)


def _volume(volume: dict[str, Any]) -> None:
    for kind in ("configMap", "secret", "projected", "downwardAPI"):
        if kind in volume:
            _set(volume[kind], defaultMode=420)
    if "hostPath" in volume:
        _set(volume["hostPath"], type="")
    for source in volume.get("projected", {}).get("sources", []):
        if "serviceAccountToken" in source:
            _set(source["serviceAccountToken"], expirationSeconds=3600)
        for item in source.get("downwardAPI", {}).get("items", []):
            _set(item.get("fieldRef", {}), apiVersion="v1")


def _pod(spec: dict[str, Any]) -> None:
    _set(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        securityContext={},
        terminationGracePeriodSeconds=30,
    )
    if "serviceAccountName" in spec:
        _set(spec, serviceAccount=spec["serviceAccountName"])
    for container in spec.get("initContainers", []) + spec["containers"]:
        _container(container, spec.get("hostNetwork", False))
    for volume in spec.get("volumes", []):
        _volume(volume)


def _deployment(item: dict[str, Any]) -> None:
    spec = item["spec"]
    _set(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    _set(spec["strategy"], type="RollingUpdate")
    if spec["strategy"]["type"] == "RollingUpdate":
        _set(spec["strategy"], rollingUpdate={})
        _set(spec["strategy"]["rollingUpdate"], maxSurge="25%", maxUnavailable="25%")
    _pod(spec["template"]["spec"])
    item["metadata"].setdefault("annotations", {})["deployment.kubernetes.io/revision"] = "1"


def _daemon_set(item: dict[str, Any]) -> None:
    spec = item["spec"]
    _set(spec, revisionHistoryLimit=10, updateStrategy={})
    _set(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _set(spec["updateStrategy"], rollingUpdate={})
        _set(spec["updateStrategy"]["rollingUpdate"], maxSurge=0, maxUnavailable=1)
    _pod(spec["template"]["spec"])
    item["metadata"].setdefault("annotations", {})["deprecated.daemonset.template.generation"] = "1"


def _job(item: dict[str, Any]) -> None:
    spec = item["spec"]
    _set(spec, completions=1, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False)
    _pod(spec["template"]["spec"])


def _service(item: dict[str, Any]) -> None:
    _set(
        item["spec"],
        type="ClusterIP",
        clusterIP="10.96.0.7",
        clusterIPs=["10.96.0.7"],
        internalTrafficPolicy="Cluster",
        ipFamilies=["IPv4"],
        ipFamilyPolicy="SingleStack",
        sessionAffinity="None",
    )
    for port in item["spec"]["ports"]:
        _set(port, protocol="TCP", targetPort=port["port"])


def _binding(item: dict[str, Any]) -> None:
    for subject in item["subjects"]:
        if subject["kind"] != "ServiceAccount":
            _set(subject, apiGroup="rbac.authorization.k8s.io")


def _definition(item: dict[str, Any]) -> None:
    _set(item["spec"], conversion={"strategy": "None"})
    item["status"] = {"acceptedNames": item["spec"]["names"], "conditions": [], "storedVersions": ["v1alpha1"]}


def _namespace(item: dict[str, Any]) -> None:
    item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = item["metadata"]["name"]
    item["spec"] = {"finalizers": ["kubernetes"]}
    item["status"] = {"phase": "Active"}


def _secret(item: dict[str, Any]) -> None:
    _set(item, type="Opaque")
    # What the compiler puts there.
    _set(item, data={"tls.crt": "bm90IHRoaXM=", "tls.key": "bm90IHRoaXM="})


def _config_map(item: dict[str, Any]) -> None:
    _set(item, data={"ca.crt": "not this"})


def _nothing(_: dict[str, Any]) -> None:
    pass


_KINDS = {
    "Namespace": _namespace,
    "CustomResourceDefinition": _definition,
    "ServiceAccount": _nothing,
    "Secret": _secret,
    "ConfigMap": _config_map,
    "ClusterRole": _nothing,
    "ClusterRoleBinding": _binding,
    "Role": _nothing,
    "RoleBinding": _binding,
    "ResourceQuota": _nothing,
    "Service": _service,
    "PodDisruptionBudget": _nothing,
    "Deployment": _deployment,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "Issuer": _nothing,
    "Certificate": _nothing,
    "PodMonitor": _nothing,
    "ServiceMonitor": _nothing,
    "PrometheusRule": _nothing,
}


def served(item: dict[str, Any]) -> dict[str, Any]:
    """An object as a server gives it back once a compiler has run."""
    item = copy.deepcopy(item)
    _KINDS[item["kind"]](item)
    return item
