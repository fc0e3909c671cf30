# SPDX-License-Identifier: Apache-2.0
"""Measures CNI plugins as a runtime executes them, side by side: `python -m bench`."""
