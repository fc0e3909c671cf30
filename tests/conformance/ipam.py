# SPDX-License-Identifier: Apache-2.0
"""A delegated IPAM plugin made of ten lines of shell: it notes what it was asked and answers as told."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

TYPE = "pwt-ipam"

_SCRIPT = """#!/bin/sh
# Notes environment and standard input per command, then answers what the test has laid down.
folder="{folder}"
echo "$CNI_COMMAND" >> "$folder/order"
env > "$folder/$CNI_COMMAND.env"
cat > "$folder/$CNI_COMMAND.stdin"
[ -e "$folder/$CNI_COMMAND.linger" ] && (sleep 20 &)
[ -e "$folder/$CNI_COMMAND.answer" ] && cat "$folder/$CNI_COMMAND.answer"
[ -e "$folder/$CNI_COMMAND.fails" ] && exit 1
exit 0
"""


class Ipam:
    """The script in a folder of its own, which is to be put into CNI_PATH."""

    def __init__(self, folder: Path, name: str = TYPE) -> None:
        self.bin = folder / "ipam-bin"
        self.notes = folder / "ipam-notes"
        self.name = name
        self.bin.mkdir()
        self.notes.mkdir()
        program = self.bin / name
        program.write_text(_SCRIPT.format(folder=self.notes))
        program.chmod(0o755)

    @property
    def config(self) -> dict[str, Any]:
        """The `ipam` block that asks for it."""
        return {"type": self.name}

    def answers(self, command: str, document: dict[str, Any], fails: bool = False) -> None:
        """What it prints for a command, and whether it exits 1."""
        (self.notes / f"{command}.answer").write_text(json.dumps(document))
        if fails:
            (self.notes / f"{command}.fails").touch()

    def gives(self, *cidrs: str, version: str = "1.1.0", **more: Any) -> None:
        """Answer ADD with these addresses; the first address of each network is its gateway."""
        ips = [{"address": each, "gateway": str(ipaddress.ip_interface(each).network[1])} for each in cidrs]
        routes = [{"dst": "::/0" if ":" in each else "0.0.0.0/0"} for each in cidrs]
        self.answers("ADD", {"cniVersion": version, "ips": ips, "routes": routes, **more})

    def fails(self, command: str, code: int, message: str) -> None:
        """Answer a command with an error."""
        self.answers(command, {"cniVersion": "1.1.0", "code": code, "msg": message, "details": ""}, fails=True)

    @property
    def order(self) -> list[str]:
        """The commands that it was called with so far."""
        path = self.notes / "order"
        return path.read_text().split() if path.exists() else []

    def environment(self, command: str) -> dict[str, str]:
        """The environment of the last call with that command."""
        lines = (self.notes / f"{command}.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def stdin(self, command: str) -> dict[str, Any]:
        """Standard input of the last call with that command."""
        document: dict[str, Any] = json.loads((self.notes / f"{command}.stdin").read_text())
        return document
