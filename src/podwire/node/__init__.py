# SPDX-License-Identifier: Apache-2.0
"""This node: its settings, and the loop that keeps the host in the state that they ask for.

A source (a file, or the API server in `kube/`) says what changed in the settings of this node and of its peers.
`desired.py` holds the desired state that follows. Each module of `reconcilers/` keeps one thing: it reads what the
kernel has, compares it with the desired state and returns the differences as changes. `loop.py` is the only loop: it
wakes up for kernel notifications, changed settings and the clock, asks the reconcilers that are concerned, applies
their changes, counts and logs them, and retries with back-off what failed. CNI calls use the same functions to set up
the host for a network, so an ADD need not look again at what the loop keeps.
"""
