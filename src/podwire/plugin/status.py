# SPDX-License-Identifier: Apache-2.0
"""STATUS: can ADD requests be served? podwire can if it answers at all; another IPAM plugin is asked."""

from __future__ import annotations

from podwire.plugin.context import Invocation


def status(invocation: Invocation) -> None:
    """Ask the IPAM plugin, if the configuration has one; raises its CniError."""
    if plugin := invocation.ipam_plugin:
        plugin.run("STATUS")
