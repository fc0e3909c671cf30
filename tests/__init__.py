# SPDX-License-Identifier: Apache-2.0
"""The tests; a package, so that every layer can import `tests.support`."""
