# SPDX-License-Identifier: Apache-2.0
"""A node under test: the host, the plugin, its pods, and the checks that nearly every test makes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.rules import error_complaints, result_complaints, silent_complaints
from tests.conformance.subject import Config, Subject
from tests.support.agent import Agent
from tests.support.namespace import Host, Namespace
from tests.support.plugin import Outcome, Plugin, Text
from tests.support.snapshot import difference, snapshot


def addresses_of(result: dict[str, Any]) -> list[str]:
    """Addresses with prefix length out of a result of any version."""
    if "ips" in result:
        return [entry["address"] for entry in result["ips"]]
    return [result[key]["ip"] for key in ("ip4", "ip6") if result.get(key)]


@dataclass(frozen=True)
class Attachment:
    """What a successful ADD left: who it is for, with which configuration, and the result."""

    pod: Namespace
    container: str
    ifname: str
    config: Config
    result: dict[str, Any]

    @property
    def cidrs(self) -> list[str]:
        """The addresses as the result spells them, with prefix length."""
        return addresses_of(self.result)

    @property
    def addresses(self) -> list[str]:
        """The addresses alone."""
        return [cidr.partition("/")[0] for cidr in self.cidrs]

    @property
    def inside(self) -> dict[str, Any]:
        """The result's entry for the pod's interface."""
        return next(each for each in self.result["interfaces"] if each.get("sandbox") and each["name"] == self.ifname)

    @property
    def config_with_result(self) -> Config:
        """The configuration as libcni sends it to CHECK and DEL."""
        return {**self.config, "prevResult": self.result}


class Node:
    """Host namespace, plugin and subject; makes pods and deletes them with itself."""

    def __init__(self, host: Host, plugin: Plugin, subject: Subject, folder: Path, agent: Agent | None = None) -> None:
        self.host = host
        self.plugin = plugin
        self.subject = subject
        self.folder = folder
        self.agent = agent
        self._pods: list[Namespace] = []

    def close(self) -> None:
        """Delete the pods' namespaces."""
        for pod in self._pods:
            pod.delete()

    def pod(self) -> Namespace:
        """A fresh sandbox, its `lo` up already, as a runtime's own call of `loopback` leaves it."""
        self._pods.append(Host())
        return self._pods[-1]

    def config(self, **changes: Any) -> Config:
        """The subject's configuration with top-level keys replaced (or removed by ABSENT)."""
        return self.subject.config_with(**changes)

    def added(
        self,
        config: Config | None = None,
        pod: Namespace | None = None,
        container: str = "",
        ifname: str = "eth0",
        args: Text = "",
        **more: Text,
    ) -> Attachment:
        """ADD that must succeed with a result in due form; a new pod unless one is given."""
        config = self.config() if config is None else config
        pod = pod or self.pod()
        container = container or f"id-{pod.name}"
        outcome = self.plugin.cni_add(config, container, pod.path, ifname, args, **more)
        assert outcome.ok, str(outcome)
        complaints = result_complaints(outcome.document, config.get("cniVersion") or "0.1.0")
        assert not complaints, f"{complaints}\n{outcome}"
        assert addresses_of(outcome.document), f"no address\n{outcome}"
        return Attachment(pod, container, ifname, config, outcome.document)

    def delete(self, attachment: Attachment, netns: Text | Path | None = None) -> Outcome:
        """DEL as libcni sends it, with the result in the configuration."""
        return self.plugin.cni_del(
            attachment.config_with_result,
            attachment.container,
            attachment.pod.path if netns is None else netns,
            attachment.ifname,
        )

    def check(self, attachment: Attachment, config: Config | None = None) -> Outcome:
        """CHECK as libcni sends it, with the result in the configuration."""
        return self.plugin.cni_check(
            config or attachment.config_with_result, attachment.container, attachment.pod.path, attachment.ifname
        )

    def refused(self, outcome: Outcome, *codes: int, own: int = 0, words: str = "") -> str:
        """Assert an error in due form, with one of `codes` if any are given; returns msg and details.

        `own` and `words` are podwire's code and a part of its message where the specification leaves both open.
        """
        complaints = error_complaints(outcome, self.subject.is_podwire)
        assert not complaints, f"{complaints}\n{outcome}"
        assert not codes or outcome.code in codes, f"expected code {codes}\n{outcome}"
        if self.subject.is_podwire:
            assert own in (0, outcome.code), f"expected code {own}\n{outcome}"
            assert words in outcome.message, f"expected {words!r}\n{outcome}"
        return outcome.message

    @staticmethod
    def silent(outcome: Outcome) -> None:
        """Assert a success without output."""
        complaints = silent_complaints(outcome)
        assert not complaints, f"{complaints}\n{outcome}"

    @contextmanager
    def unchanged(self, *pods: Namespace) -> Iterator[None]:
        """Assert that the kernel's state of host and `pods` is the same afterwards."""
        namespaces = [self.host, *pods]
        before = [snapshot(each) for each in namespaces]
        yield
        for namespace, then in zip(namespaces, before, strict=True):
            changes = difference(then, snapshot(namespace))
            assert not changes, f"{namespace}: " + "\n".join(changes)

    def host_veths(self) -> list[str]:
        """Names of the veth devices on the host."""
        return [name for name, row in self.host.links().items() if row.get("linkinfo", {}).get("info_kind") == "veth"]


def encoded(config: Any) -> bytes:
    """JSON as a runtime sends it."""
    return json.dumps(config).encode()


def strange_link(namespace: Namespace, name: str) -> None:
    """A link that is not the plugin's: one end of a veth pair inside the namespace."""
    namespace.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name[:13]}-p")
