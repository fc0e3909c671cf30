# SPDX-License-Identifier: Apache-2.0
"""Configurations with host ports, and the table of host ports as nft shows it."""

from __future__ import annotations

import json
from typing import Any

from tests.namespaces.ground import configuration
from tests.support.namespace import Namespace

TABLE = "table inet podwire-ports"


def mapped(mode: str, *mappings: dict[str, Any], families: tuple[int, ...] = (4, 6)) -> dict[str, Any]:
    return configuration(mode, families, runtimeConfig={"portMappings": list(mappings)})


def port(host_port: int, inside: int = 80, protocol: str = "TCP", host_ip: str = "") -> dict[str, Any]:
    """A mapping as containerd spells it."""
    return {"HostPort": host_port, "ContainerPort": inside, "Protocol": protocol, "HostIP": host_ip}


def in_table(host: Namespace) -> list[str]:
    """Every element of our table as nft shows it, sorted; empty where there is no table."""
    done = host.run("nft", "-j", "list", *TABLE.split(), check=False)
    objects = json.loads(done.stdout)["nftables"] if done.returncode == 0 else []
    return sorted(
        json.dumps(element) for resource in objects for each in resource.values() for element in each.get("elem", [])
    )


def has_table(host: Namespace) -> bool:
    return TABLE in host.ruleset()
