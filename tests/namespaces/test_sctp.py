# SPDX-License-Identifier: Apache-2.0
"""Host ports of SCTP, with its traffic: on kernels that have it (`make kernels`); the elements alone: test_ports."""

from __future__ import annotations

import socket

import pytest

from tests.namespaces.ground import MODES, NEXT, NODE, Outside
from tests.namespaces.mapping import mapped, port
from tests.namespaces.service import NOTHING, Service, ask
from tests.support.namespace import Host, Namespace
from tests.support.plugin import Plugin


def _has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not _has_sctp(), reason="this kernel has no SCTP sockets")


@pytest.mark.parametrize("mode", MODES)
def test_everybody_reaches_the_pod_by_the_nodes_address(
    plugin: Plugin, host: Host, outside: Outside, pod: Namespace, mode: str
) -> None:
    """The world outside keeps its own address; the node itself and the very same pod are answered too."""
    config = mapped(mode, port(9000, 9, "SCTP"))
    assert plugin.cni_add(config, "box", pod.path).ok
    with Service(pod, "shop", 9):
        for family in (4, 6):
            assert ask(outside, "sctp", NODE[family], 9000) == ["shop", NEXT[family]]
            for source in (host, pod):
                assert ask(source, "sctp", NODE[family], 9000)[0] == "shop", source
        assert ask(outside, "tcp", NODE[4], 9000, limit_seconds=1)[0] == NOTHING, "only SCTP leads there"
    assert plugin.cni_del(config, "box", pod.path).ok
    assert ask(outside, "sctp", NODE[4], 9000, limit_seconds=1)[0] == NOTHING
