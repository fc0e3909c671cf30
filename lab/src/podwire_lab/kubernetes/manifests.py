"""What is applied to the lab's cluster: podwire's own manifest with the lab's settings in it, and the lab's pods."""

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
"""The key of the manifest's ConfigMap that holds the agents' common settings."""

_INSTALLED = Path(podwire.__file__).parent / "deploy" / "podwire.yaml"
_CHECKOUT = Path(podwire.__file__).parents[2] / "deploy" / "podwire.yaml"


def own() -> Path:
    """The manifest that belongs to the running podwire; raises NotInstalledError."""
    for file in (_INSTALLED, _CHECKOUT):
        if file.is_file():
            return file
    raise NotInstalledError(f"{_CHECKOUT} is not here: name podwire's manifest with --manifest")


def settings(layout: Layout) -> str:
    """What all agents of the lab have in common (TOML; a JSON list of strings is a TOML one, too)."""
    return (
        f"cluster_ranges = {json.dumps(layout.cluster)}\n"
        f"mode = {json.dumps(layout.wish.mode)}\n"
        f"[tunnel]\nwhen = {json.dumps(layout.wish.tunnel)}\n"
    )


def network(text: str, layout: Layout) -> str:
    """The manifest with the lab's ranges, mode and tunnel, and nothing else changed. Raises ValueError."""
    try:
        documents = [each for each in yaml.safe_load_all(text) if each]
        maps = [each for each in documents if each["kind"] == "ConfigMap" and SETTINGS in each.get("data", {})]
    except (yaml.YAMLError, LookupError, TypeError, AttributeError) as wrong:
        raise ValueError(f"this is no manifest: {' '.join(str(wrong).split())[:200]}") from None
    if len(maps) != 1:
        raise ValueError(f"the manifest has {len(maps)} ConfigMaps with a key {SETTINGS}, not one")
    maps[0]["data"][SETTINGS] = settings(layout)
    return as_list(documents)


def pods(layout: Layout, names: Mapping[str, str]) -> str:
    """The pods of the layout, each bound to its node by a selector, as one manifest. `names` are images by kind."""
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
    """Objects as one manifest (JSON is YAML)."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=1)
