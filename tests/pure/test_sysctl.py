# SPDX-License-Identifier: Apache-2.0
"""The node's settings, mounted elsewhere: a name that the kernel has not is no error, a missing mount is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwire import sysctl


def test_a_setting_that_the_kernel_has_not_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sysctl, "ROOT", str(tmp_path))
    (tmp_path / "net").mkdir()
    assert sysctl.read("net/ipv6/conf/all/forwarding") is None
    assert not sysctl.ensure("net/ipv6/conf/all/forwarding", "1")


def test_a_missing_mount_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sysctl, "ROOT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"net/ipv4/ip_forward"):
        sysctl.ensure("net/ipv4/ip_forward", "1")
