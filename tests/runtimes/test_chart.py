# SPDX-License-Identifier: Apache-2.0
"""The chart and the manifests made from it: one source, few rights, every setting used and told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import rtoml
import yaml

import podwire
from podwire.cli.main import parser
from podwire.kube.settings import ClusterSettings, load_cluster_settings
from podwire_lab import podwire_image
from tests.runtimes.rbac import Rule, allowed_rules
from tests.tools import manifests

ROOT = Path(__file__).parents[2]
Object = dict[str, Any]


def objects(text: str) -> list[Object]:
    return [document for document in yaml.safe_load_all(text) if document]


def one(found: list[Object], kind: str) -> Object:
    (only,) = (each for each in found if each["kind"] == kind)
    return only


def pod(found: list[Object]) -> Object:
    spec: Object = one(found, "DaemonSet")["spec"]["template"]["spec"]
    return spec


@pytest.fixture(scope="module")
def plain() -> list[Object]:
    """The objects of deploy/podwire.yaml."""
    return objects((manifests.DEPLOY / "podwire.yaml").read_text())


@pytest.mark.parametrize("name", manifests.FILES)
def test_the_files_are_what_the_chart_gives(name: str) -> None:
    assert (manifests.DEPLOY / name).read_text() == manifests.rendered(name), "run `make manifests`"


def test_the_chart_passes_helms_own_checks() -> None:
    done = manifests.helm("lint", "--strict", str(manifests.CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_versions_and_names_agree(plain: list[Object]) -> None:
    chart = yaml.safe_load((manifests.CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == podwire.__version__
    images = re.findall(r"image: (\S+)", "".join((manifests.DEPLOY / name).read_text() for name in manifests.FILES))
    assert set(images) == {podwire_image.NAME}


def test_the_common_settings_are_accepted_and_are_the_defaults(plain: list[Object], tmp_path: Path) -> None:
    file = tmp_path / "podwire.toml"
    file.write_text(one(plain, "ConfigMap")["data"]["podwire.toml"])
    assert load_cluster_settings(file) == ClusterSettings().parse()


def test_all_values_reach_the_agents_file(tmp_path: Path) -> None:
    given = {
        "clusterCIDRs": '["10.10.0.0/16", "fd00:10::/56"]',
        "mode": '"bridge"',
        "mtu": "1400",
        "masquerade": "false",
        "masqueradeExceptions": '["172.16.0.0/12"]',
        "tunnel": '{"when": "never", "vni": 77, "port": 8472}',
        "cni": '{"binDir": "/usr/libexec/cni", "confDir": "/etc/cni/other", "network": "pods"}',
    }
    found = objects(manifests.template(*(f"{key}={value}" for key, value in given.items())))
    settings = rtoml.loads(one(found, "ConfigMap")["data"]["podwire.toml"])
    assert settings == {
        "cluster_cidrs": ["10.10.0.0/16", "fd00:10::/56"],
        "mode": "bridge",
        "mtu": 1400,
        "masquerade": False,
        "masquerade_exceptions": ["172.16.0.0/12"],
        "tunnel": {"when": "never", "vni": 77, "port": 8472},
        "cni": {"conf_dir": "/etc/cni/other", "network": "pods"},
    }
    paths = {each["name"]: each["hostPath"]["path"] for each in pod(found)["volumes"] if "hostPath" in each}
    assert paths["cni-bin"] == "/usr/libexec/cni" and paths["cni-conf"] == "/etc/cni/other"
    containers = (*pod(found)["initContainers"], *pod(found)["containers"])
    mounts = [(each["name"], each["mountPath"]) for container in containers for each in container["volumeMounts"]]
    cni = {mount for mount in mounts if mount[0] in ("cni-bin", "cni-conf")}
    assert cni == {(name, paths[name]) for name in ("cni-bin", "cni-conf")}, "the same path inside: messages name it"


def test_the_old_name_of_the_cluster_cidrs_is_accepted() -> None:
    found = objects(manifests.template('clusterRanges=["10.10.0.0/16"]'))
    assert rtoml.loads(one(found, "ConfigMap")["data"]["podwire.toml"])["cluster_cidrs"] == ["10.10.0.0/16"]


def test_other_values_reach_the_pods() -> None:
    found = objects(
        manifests.template(
            'image={"repository": "registry.example/podwire", "tag": "1", "pullPolicy": "Always"}',
            'imagePullSecrets=[{"name": "key"}]',
            'apiServer={"host": "api.example", "port": 443}',
            'http={"address": "::", "port": 9000}',
            'log={"format": "text"}',
            'nodeSelector={"pool": "a"}',
            'tolerations=[{"key": "one", "operator": "Exists"}]',
            'priorityClassName="mine"',
            'maxUnavailable="10%"',
            'podAnnotations={"prometheus.io/scrape": "true"}',
            'podLabels={"team": "net"}',
            'resources={"requests": {"cpu": "1m"}}',
        )
    )
    daemons, spec = one(found, "DaemonSet"), pod(found)
    (agent,) = spec["containers"]
    assert agent["image"] == "registry.example/podwire:1" and agent["imagePullPolicy"] == "Always"
    assert {"--http=[::]:9000", "--log-format=text"} <= set(agent["args"])
    assert agent["livenessProbe"]["httpGet"] == {"host": "::1", "port": 9000, "path": "/healthz"}
    environment = {each["name"]: each.get("value") for each in agent["env"]}
    assert environment["KUBERNETES_SERVICE_HOST"] == "api.example" and environment["KUBERNETES_SERVICE_PORT"] == "443"
    assert agent["resources"]["requests"]["cpu"] == "1m"
    assert spec["imagePullSecrets"] == [{"name": "key"}] and spec["priorityClassName"] == "mine"
    assert spec["nodeSelector"]["pool"] == "a" and spec["tolerations"] == [{"key": "one", "operator": "Exists"}]
    assert daemons["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == "10%"
    made = daemons["spec"]["template"]["metadata"]
    assert made["annotations"]["prometheus.io/scrape"] == "true" and made["labels"]["team"] == "net"
    assert not [each for each in found if each["kind"] == "Namespace"]


@pytest.mark.parametrize(
    ("value", "word"),
    [('mode="overlay"', "mode"), ("colour=1", "colour"), ('mtu="big"', "mtu"), ("tunnel.port=70000", "port")],
)
def test_wrong_values_are_refused_by_name(value: str, word: str) -> None:
    with pytest.raises(RuntimeError, match=word):
        manifests.template(value)


def test_the_arguments_are_the_command_lines(plain: list[Object]) -> None:
    uninstall = objects((manifests.DEPLOY / "uninstall.yaml").read_text())
    agent, install, remove = pod(plain)["containers"][0], pod(plain)["initContainers"][0], pod(uninstall)
    options = parser("agent").parse_args(agent["args"])
    assert options.kubernetes and options.log_format == "json"
    assert str(options.config).startswith(agent["volumeMounts"][0]["mountPath"])
    assert parser("install").parse_args(install["args"]).kubernetes
    assert parser("uninstall").parse_args(remove["initContainers"][0]["args"]).verb == "uninstall"


def test_rights_are_few_and_confined(plain: list[Object]) -> None:
    events = {Rule("create", "events", "default"), Rule("patch", "events", "default")}
    nodes = {Rule("list", "nodes", ""), Rule("watch", "nodes", ""), Rule("patch", "nodes/status", "")}
    assert set(allowed_rules(plain)) == events | nodes
    uninstall = objects((manifests.DEPLOY / "uninstall.yaml").read_text())
    assert pod(uninstall)["automountServiceAccountToken"] is False
    for spec in (pod(plain), pod(uninstall)):
        assert not spec.keys() & {"hostPID", "hostIPC"}
        assert spec["containers"]
        for container in (*spec["initContainers"], *spec["containers"]):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True and context["capabilities"]["drop"] == ["ALL"]
            assert "privileged" not in context and context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_it_comes_to_every_node_and_goes_one_at_a_time(plain: list[Object]) -> None:
    spec, daemons = pod(plain), one(plain, "DaemonSet")
    assert spec["tolerations"] == [{"operator": "Exists"}] and spec["hostNetwork"] is True
    assert spec["priorityClassName"] == "system-node-critical"
    assert daemons["spec"]["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}


def test_every_value_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    values = yaml.safe_load((manifests.CHART / "values.yaml").read_text())
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*?) \|", page, re.MULTILINE))
    told = {
        name: yaml.safe_load(default.strip("`")) for name, default in rows.items() if name.partition(".")[0] in values
    }
    whole = ("resources", "nodeSelector", "tolerations", "podAnnotations", "podLabels")
    flat = {
        f"{name}.{key}" if isinstance(value, dict) and name not in whole else name: each
        for name, value in values.items()
        for key, each in (value.items() if isinstance(value, dict) and name not in whole else [("", value)])
    }
    assert told == flat


@pytest.mark.parametrize(
    "words",
    [
        "no podwire agent answers on this node and no one-shot path is installed",
        ": free pods or give the node a larger podCIDR",
        " is in use by ",
        "watch failed: ",
        "already: stop it or choose another --socket",
        ": pods cannot be started until it can be written",
        "choose other folders with --bin-dir and --conf-dir",
    ],
)
def test_the_messages_that_the_page_explains_are_podwires(words: str) -> None:
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "shim").glob("*.c")]
    assert words in (ROOT / "docs" / "kubernetes.md").read_text()
    joined = (re.sub(r'"\s*\n\s*f?"', "", path.read_text()) for path in sources)
    assert any(words in text for text in joined)
