# SPDX-License-Identifier: Apache-2.0
"""Keeps the CNI configuration file, which tells the container runtime that pods can be started."""

from __future__ import annotations

from collections.abc import Sequence

from podwire.install.errors import InstallationError
from podwire.install.files import file_state, write_atomically
from podwire.node.desired import DesiredState
from podwire.node.reconciler import TICK, Change, Reconciler


class CniConfigFile(Reconciler):
    """The file is written when CNI calls are served, and again when it is removed or changed.

    It stays when the agent ends: without it, runtimes cannot even remove a pod.
    """

    name = "cni-config"
    needed_by_pods = follows_settings = True
    events = (TICK,)  # one stat(2) each second

    def __init__(self, desired: DesiredState) -> None:
        super().__init__(desired)
        self._checked: object = None
        self._written = b""

    def differences(self, *, full: bool) -> Sequence[Change]:
        """The file, if it is not there or not as desired."""
        if not self._desired.serving or self._desired.cni_file is None:
            return ()
        path, text = self._desired.cni_file
        state = (text, file_state(path))
        if not full and state == self._checked:
            return ()
        if state[1] and path.read_bytes() == text:
            self._checked, self._written = state, text
            return ()
        line = f"{path}: written"
        return [Change("file", line, self._write, note="" if text == self._written else line)]

    def _write(self) -> None:
        assert self._desired.cni_file is not None
        path, text = self._desired.cni_file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text, 0o644)
        except OSError as refused:
            words = f"{path}: {refused.strerror}: pods cannot be started until it can be written"
            raise InstallationError(words) from None
        self._written = text
