# SPDX-License-Identifier: Apache-2.0
"""Why something could not be installed, written or removed."""

from __future__ import annotations


class InstallationError(Exception):
    """What could not be installed or removed, and what to do: one line."""
