# SPDX-License-Identifier: Apache-2.0
"""What is in deploy/ is understood by a real API server, to the last field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.access import Access
from tests.cluster.real import Real
from tests.support.namespace import Namespace, wait_until
from tests.support.tools import tool
from tests.tools import manifests

DEPLOY = Path(__file__).parents[2] / "deploy"
PLACES = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "DaemonSet": "/apis/apps/v1/namespaces/{}/daemonsets",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """The API server; only Pod Security and RBAC judge what it is given."""
    with Namespace() as host:
        host.run("ip", "link", "set", "lo", "up")
        server = Real(host, tmp_path_factory.mktemp("api"))
        try:
            server.start()
            yield server
        finally:
            server.close()


def create(api: Real, found: dict[str, Any]) -> Any:
    place = PLACES[found["kind"]].format(found["metadata"].get("namespace", ""))
    return api.request("POST", f"{place}?fieldValidation=Strict&fieldManager=test", found)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["podwire.yaml", "uninstall.yaml"])
def test_every_field_is_known_and_kept(api: Real, name: str) -> None:
    found = [document for document in yaml.safe_load_all((DEPLOY / name).read_text()) if document]
    created = [
        entry for entry in found if not entry["apiVersion"].startswith("rbac.")
    ]  # the server was started with roles
    assert {"Namespace", "DaemonSet"} <= {entry["kind"] for entry in created}
    assert created
    for entry in created:
        if entry["kind"] == "Namespace":
            entry["metadata"]["name"] = name.partition(".")[0]
        elif "namespace" in entry["metadata"]:
            entry["metadata"]["namespace"] = name.partition(".")[0]
        made = create(api, entry)
        assert contains(made, entry), entry["kind"]


def test_an_agent_may_change_its_own_node_alone(api: Real) -> None:
    """The policy of podwire.yaml, which the test above has created."""
    for name in ("here", "there"):
        api.add_node(name, ["192.0.2.1"], ["10.244.0.0/24"])
    bound = {"kind": "Node", "apiVersion": "v1", "name": "here"}
    wish = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": bound}}
    wish["spec"]["audiences"] = []  # type: ignore[index]
    answer = api.request("POST", "/api/v1/namespaces/podwire/serviceaccounts/podwire/token", wish)
    agent = Access(api.host, api.url, answer["status"]["token"], api.authority)
    up = {"conditions": [{"type": "NetworkUnavailable", "status": "False", "reason": "PodwireIsUp"}]}

    def refused(name: str) -> str:
        try:
            agent.patch_status(name, up)
        except RuntimeError as words:
            return str(words)
        return ""

    assert wait_until(lambda: "its own Node only" in refused("there"))  # policies take effect a moment later
    assert refused("here") == ""
    api.patch_status("there", up)


def test_helm_installs_it_turns_it_into_its_removal_and_takes_it_away(api: Real, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "admin"
    kubeconfig.write_text(api.kubeconfig_text("token: admin-token"))

    def helm(*words: str) -> None:
        where = ("--kubeconfig", str(kubeconfig), "--namespace", "by-helm")
        api.host.run("env", f"HOME={tmp_path}", str(tool("helm")), *words, *where)

    def there() -> set[str]:
        listed = ("daemonsets", "/apis/apps/v1"), ("configmaps", "/api/v1"), ("serviceaccounts", "/api/v1")
        found = [
            f"{kind} {item['metadata']['name']}"
            for kind, group in listed
            for item in api.request("GET", f"{group}/namespaces/by-helm/{kind}")["items"]
        ]
        return set(found)

    for path in cluster_wide():
        api.request("DELETE", path)  # of the server's start: Helm takes over nothing that it did not make
    helm("install", "podwire", str(manifests.CHART), "--create-namespace")
    assert there() == {"daemonsets podwire", "configmaps podwire", "serviceaccounts podwire"}
    subjects = [api.request("GET", path).get("subjects", []) for path in cluster_wide()]
    assert {entry["namespace"] for each in subjects for entry in each} == {"by-helm"}
    helm("upgrade", "podwire", str(manifests.CHART), "--reuse-values", "--set", "uninstall=true")
    assert there() == {"daemonsets podwire-uninstall"}
    helm("uninstall", "podwire")
    assert there() == set()


def cluster_wide() -> list[str]:
    """The paths of what the manifest has outside of its namespace."""
    found = [document for document in yaml.safe_load_all((DEPLOY / "podwire.yaml").read_text()) if document]
    return [
        f"{PLACES[entry['kind']].format(entry['metadata'].get('namespace', ''))}/{entry['metadata']['name']}"
        for entry in found
        if entry["metadata"].get("namespace") != "podwire" and entry["kind"] != "Namespace"
    ]


def contains(whole: Any, part: Any) -> bool:
    """Is everything of `part` in `whole`, which has more keys?"""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return len(whole) == len(part) and all(contains(*pair) for pair in zip(whole, part, strict=True))
    return bool(whole == part)


def test_an_unknown_field_would_be_refused(api: Real) -> None:
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "wrong", "namespace": "default"}, "dat": {}}
    with pytest.raises(RuntimeError, match="unknown field"):
        create(api, wrong)
