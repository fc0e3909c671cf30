"""What is in deploy/ is understood by a real API server, to the last field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.real import Real
from tests.support.namespace import Namespace

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
    for one in yaml.safe_load_all((DEPLOY / name).read_text()):
        if not one or one["apiVersion"].startswith("rbac."):
            continue  # roles are there: the server was started with them
        if one["kind"] == "Namespace":
            one["metadata"]["name"] = name.partition(".")[0]
        elif "namespace" in one["metadata"]:
            one["metadata"]["namespace"] = name.partition(".")[0]
        made = create(api, one)
        assert contains(made, one), one["kind"]


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
