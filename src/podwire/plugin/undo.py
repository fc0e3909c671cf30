"""Takes back an ADD whose answer never reached anybody."""

from __future__ import annotations

from collections.abc import Mapping

from podwire.plugin.dispatch import Answer, serve
from podwire.plugin.host import Host
from podwire.plugin.network import Networks


def undo(environment: Mapping[str, str], stdin: bytes, answer: Answer, host: Host, networks: Networks) -> None:
    """DEL what a successful ADD made. Other verbs leave nothing to undo."""
    if environment.get("CNI_COMMAND") == "ADD" and answer.status == 0:
        serve({**environment, "CNI_COMMAND": "DEL"}, stdin, -1, host, networks)
