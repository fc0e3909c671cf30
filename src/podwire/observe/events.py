# SPDX-License-Identifier: Apache-2.0
"""A problem of a node, and the Kubernetes Event that reports it. No effects."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from podwire.digest import blake2b


class Problem(Struct, frozen=True):
    """What is wrong with a node: `reason` is one CamelCase word, `message` has the cause, the value, the next step."""

    node: str
    reason: str
    message: str


def event_name(problem: Problem) -> str:
    """The Event's name. It follows from the problem, so all agents that see the problem create one Event."""
    digest = blake2b(f"{problem.reason} {problem.message}".encode(), digest_size=6).hexdigest()
    return f"podwire.{problem.node[:200]}.{digest}"


def node_event(problem: Problem, reporter: str, stamp: str) -> dict[str, Any]:
    """The Event of a Node, reported by the agent of node `reporter` at `stamp` (RFC 3339).

    Its `uid` is the Node's name, as in the kubelet's Events: `kubectl describe node` looks for that.
    """
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event_name(problem), "namespace": "default"},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": problem.node, "uid": problem.node},
        "type": "Warning",
        "reason": problem.reason,
        "message": problem.message,
        "source": {"component": "podwire", "host": reporter},
        "reportingComponent": "podwire",
        "reportingInstance": reporter,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
