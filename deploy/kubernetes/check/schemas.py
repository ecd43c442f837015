"""The API's own schemas of each release: what they refuse, and what they say about merging."""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import Any, Iterator

import jsonschema
from kubernetes_validate import utils
from referencing import Registry, Resource

OLDEST = (1, 30)
KIND = "x-kubernetes-group-version-kind"

# What is no part of Kubernetes itself, so no schema of it is there.
FOREIGN = {"apiextensions.k8s.io", "cert-manager.io", "monitoring.coreos.com"}


@functools.cache
def releases() -> list[str]:
    """Every release from the oldest that is supported on, as the package has them: 1.30.0, …"""
    return [it for it in utils.all_versions() if tuple(map(int, it.split(".")[:2])) >= OLDEST]


def group(item: dict[str, Any]) -> str:
    return item["apiVersion"].rpartition("/")[0]


@functools.cache
def definitions(release: str) -> dict[str, Any]:
    return json.loads(_folder(release).joinpath("_definitions.json").read_text())


@functools.cache
def _registry(release: str) -> Registry:
    return Resource.from_contents(definitions(release)) @ Registry()


def _folder(release: str) -> Any:
    return files("kubernetes_validate").joinpath(f"kubernetes-json-schema/v{release}-local-strict")


@functools.cache
def _validator(release: str, kind: str, api_version: str) -> Any:
    short = api_version.split("/")[0].split(".")[0] + "-" if "/" in api_version else ""
    name = f"{kind.lower()}-{short}{api_version.rpartition('/')[2]}.json"
    schema = json.loads(_folder(release).joinpath(name).read_text())
    registry = Resource.from_contents(schema) @ _registry(release)
    return jsonschema.validators.Draft202012Validator(schema, registry=registry)


@functools.cache
def _faults(release: str, text: str) -> tuple[str, ...]:
    item = json.loads(text)
    errors = _validator(release, item["kind"], item["apiVersion"]).iter_errors(item)
    return tuple(f"{'.'.join(map(str, error.path))}: {error.message}" for error in errors)


def faults(release: str, item: dict[str, Any]) -> tuple[str, ...]:
    """What a release's API refuses in an object; unknown fields too. Equal objects are asked about once."""
    return () if group(item) in FOREIGN else _faults(release, json.dumps(item, sort_keys=True))


def _resolved(node: dict[str, Any], release: str) -> dict[str, Any]:
    """A schema with what it refers to; its own words count first."""
    if "$ref" not in node:
        return node
    name = node["$ref"].rpartition("/")[2]
    return {**definitions(release)["$defs"][name], **node}


def unsettled(item: dict[str, Any], served: dict[str, Any], release: str) -> Iterator[str]:
    """Where a manifest is never at rest against a server that served it as `served`, with its defaults written out.

    An atomic map or list that is served otherwise than it was applied is somebody else's, and the next server-side apply
    conflicts. Of a field with the strategy `retainKeys`, each client-side apply takes away what the server wrote into it.
    """
    if group(item) in FOREIGN:
        return
    kind = (group(item), item["apiVersion"].rpartition("/")[2], item["kind"])
    yield from _unsettled(item, served, _kinds(release)[kind], release, "")


@functools.cache
def _kinds(release: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    named = [(it, schema) for schema in definitions(release)["$defs"].values() for it in schema.get(KIND, [])]
    return {(it["group"], it["version"], it["kind"]): schema for it, schema in named}


def _unsettled(item: Any, served: Any, schema: dict[str, Any], release: str, path: str) -> Iterator[str]:
    strategy = schema.get("x-kubernetes-patch-strategy", "")
    schema = _resolved(schema, release)
    strategy = strategy or schema.get("x-kubernetes-patch-strategy", "")
    if isinstance(item, dict) and isinstance(served, dict):
        if schema.get("x-kubernetes-map-type") == "atomic":
            if item != served:
                yield f"{path}: atomic, {item} is served as {served}"
            return
        if "retainKeys" in strategy and set(served) - set(item):
            yield f"{path}: retainKeys, the server adds {sorted(set(served) - set(item))}"
        for name, value in item.items():
            below = schema.get("properties", {}).get(name) or schema.get("additionalProperties") or {}
            if name in served and isinstance(below, dict):
                yield from _unsettled(value, served[name], below, release, f"{path}.{name}")
    elif isinstance(item, list) and isinstance(served, list):
        keys = schema.get("x-kubernetes-list-map-keys") or [schema.get("x-kubernetes-patch-merge-key")]
        if schema.get("x-kubernetes-list-type", "atomic") == "atomic" and keys == [None]:
            if item != served:
                yield f"{path}: an atomic list is served otherwise"
            return
        for at, (value, other) in enumerate(zip(item, served, strict=True)):
            yield from _unsettled(value, other, schema.get("items", {}), release, f"{path}[{at}]")
    # A value that is served in another form (a quantity of 1000m as 1) is a change each time.
    elif item != served:
        yield f"{path}: {item!r} is served as {served!r}"
