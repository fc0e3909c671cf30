# SPDX-License-Identifier: Apache-2.0
"""The namespace tests pass on Debian's other kernels too."""

from __future__ import annotations

import pytest

from tests.kernels.debian import KERNELS, OLDEST
from tests.kernels.guest import GUEST_TIMEOUT_SECONDS, boot
from tests.kernels.run import CHOSEN


@pytest.mark.timeout(GUEST_TIMEOUT_SECONDS + 600)
@pytest.mark.parametrize("series", [series for series in KERNELS if series != OLDEST])
def test_the_namespace_tests_pass_on(series: str) -> None:
    """All chosen tests pass inside; a guest that runs none of them, or dies, fails with its console's end."""
    outcome = boot(series, CHOSEN)
    assert outcome.release.startswith(f"{series}."), outcome.release
    assert outcome.good, outcome.story()
    assert not [name for name in outcome.skipped if "sctp" in name], "these kernels have SCTP: it was to be tested"
