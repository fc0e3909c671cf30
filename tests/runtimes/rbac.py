# SPDX-License-Identifier: Apache-2.0
"""What a manifest's roles allow (RBAC), and what an HTTP request asks for, in the same words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

SUBJECT = {"kind": "ServiceAccount", "name": "podwire", "namespace": "podwire"}
Object = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """One verb on one resource, in one namespace ("" for those that have none)."""

    verb: str
    resource: str
    namespace: str

    def allows(self, verb: str, resource: str, namespace: str) -> bool:
        """A cluster's rule holds in all namespaces, a namespace's only there; no wildcards: none are used."""
        return (verb, resource) == (self.verb, self.resource) and self.namespace in ("", namespace)


def allowed_rules(objects: list[Object]) -> list[Rule]:
    """All that the bindings give to podwire's service account, one verb and one resource at a time."""
    found = []
    roles = {
        (resource["kind"], resource["metadata"].get("namespace", ""), resource["metadata"]["name"]): resource
        for resource in objects
    }
    for binding in objects:
        if not binding["kind"].endswith("RoleBinding"):
            continue
        assert binding["subjects"] == [SUBJECT]
        namespace = binding["metadata"].get("namespace", "")
        assert bool(namespace) == (binding["kind"] == "RoleBinding")
        role = roles[binding["roleRef"]["kind"], namespace, binding["roleRef"]["name"]]
        for rule in role["rules"]:
            assert set(rule) == {"apiGroups", "resources", "verbs"} and rule["apiGroups"] == [""]
            found += [Rule(verb, resource, namespace) for verb in rule["verbs"] for resource in rule["resources"]]
    assert found and not any("*" in (rule.verb, rule.resource) for rule in found)
    return found


def asked(request: str) -> tuple[str, str, str]:
    """Verb, resource and namespace of a request to the core API, as `GET /api/v1/nodes?watch=true`."""
    method, url = request.split(" ", 1)
    parts = urlsplit(url)
    words = parts.path.removeprefix("/api/v1/").split("/")
    namespace = ""
    if words[0] == "namespaces" and len(words) > 2:
        namespace, words = words[1], words[2:]
    resource = "/".join([words[0], *words[2:]])
    if method == "GET" and len(words) == 1:
        return ("watch" if parse_qs(parts.query).get("watch") == ["true"] else "list"), resource, namespace
    verb = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[method]
    return verb, resource, namespace
