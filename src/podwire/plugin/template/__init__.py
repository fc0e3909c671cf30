# SPDX-License-Identifier: Apache-2.0
"""ADD templates (ADR 11). Pods of one network differ in a few values: addresses, names, MACs, indexes.

From the second pod on, the agent fills these values into templates of the messages and of the answer, which were
derived from two sample pods. `AddTemplates` in `add.py` is the only entry.
"""
