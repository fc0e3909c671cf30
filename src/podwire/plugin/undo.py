"""Undoes an ADD whose answer could not be delivered."""

from __future__ import annotations

from collections.abc import Mapping

from podwire.netlink.host import Host
from podwire.plugin.context import PluginState
from podwire.plugin.dispatch import Answer, serve
from podwire.plugin.timings import Timings


def undo(environment: Mapping[str, str], stdin: bytes, answer: Answer, host: Host, state: PluginState) -> None:
    """Run DEL for a successful ADD. Other verbs leave nothing to undo."""
    if environment.get("CNI_COMMAND") == "ADD" and answer.status == 0:
        serve({**environment, "CNI_COMMAND": "DEL"}, stdin, -1, host, state, Timings())
