# SPDX-License-Identifier: Apache-2.0
"""The manifests that the lab applies: podwire's own with the lab's settings, and the lab's pods."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import podwire
from podwire_lab import images
from podwire_lab.layout import Layout, PodPlan
from podwire_lab.programs import NotInstalledError

SETTINGS = "podwire.toml"
"""The key of the ConfigMap with the settings of the whole cluster."""

_INSTALLED = Path(podwire.__file__).parent / "deploy" / "podwire.yaml"
_CHECKOUT = Path(podwire.__file__).parents[2] / "deploy" / "podwire.yaml"


def own() -> Path:
    """The manifest that belongs to the running podwire; raises NotInstalledError."""
    for file in (_INSTALLED, _CHECKOUT):
        if file.is_file():
            return file
    raise NotInstalledError(f"{_CHECKOUT} does not exist: name podwire's manifest with --manifest")


def settings(layout: Layout) -> str:
    """The settings of the whole cluster (TOML; a JSON list of strings is a TOML list as well)."""
    return (
        f"cluster_cidrs = {json.dumps(layout.cluster)}\n"
        f"mode = {json.dumps(layout.spec.mode)}\n"
        f"[tunnel]\nwhen = {json.dumps(layout.spec.tunnel)}\n"
    )


def network(text: str, layout: Layout) -> str:
    """The manifest with the lab's pod CIDRs, mode and tunnel; the rest is unchanged. Raises ValueError."""
    try:
        documents = [item for item in yaml.safe_load_all(text) if item]
        maps = [item for item in documents if item["kind"] == "ConfigMap" and SETTINGS in item.get("data", {})]
    except (yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"this is not a manifest: {' '.join(str(error).split())[:200]}") from None
    if len(maps) != 1:
        raise ValueError(f"the manifest has {len(maps)} ConfigMaps with a key {SETTINGS}, not one")
    maps[0]["data"][SETTINGS] = settings(layout)
    return as_list(documents)


def pods(layout: Layout, names: Mapping[str, str]) -> str:
    """The manifest of the layout's pods; a selector binds each to its node. `names` are the images by kind."""
    return as_list([_pod(plan.name, pod, names[pod.image]) for plan in layout.nodes for pod in plan.pods])


def _pod(node: str, pod: PodPlan, image: str) -> dict[str, Any]:
    container: dict[str, Any] = {"name": pod.image, "image": image, "imagePullPolicy": "IfNotPresent"}
    if pod.image == "nginx":
        container["ports"] = [{"containerPort": 80}]
    else:
        container["command"] = list(images.SLEEP)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name, "labels": {"app": pod.image}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        },
    }


def as_list(objects: list[dict[str, Any]]) -> str:
    """The objects as a List (JSON is YAML)."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=1)
