# SPDX-License-Identifier: Apache-2.0
"""What all tests of runtimes share: no lab of a killed earlier run is left."""

from __future__ import annotations

import pytest

from tests.runtimes.world import sweep_dead


@pytest.fixture(scope="session", autouse=True)
def no_old_labs() -> None:
    """Remove what test processes left that were killed."""
    sweep_dead()
