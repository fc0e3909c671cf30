# SPDX-License-Identifier: Apache-2.0
"""The command line `podwire`: one file for each verb, with its options and its output."""
