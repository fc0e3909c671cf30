# SPDX-License-Identifier: Apache-2.0
"""The black-box suite: it executes a CNI plugin's binary and knows nothing of its code."""
