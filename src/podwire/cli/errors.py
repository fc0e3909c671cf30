# SPDX-License-Identifier: Apache-2.0
"""Errors that the command line reports in one line: cause, offending value, next step."""


class UserError(Exception):
    """An error that the user can correct: one line on stderr, exit status 1."""
