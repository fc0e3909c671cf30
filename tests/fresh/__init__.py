# SPDX-License-Identifier: Apache-2.0
"""Runs the README's two commands on a fresh machine: a bare Debian that has nothing but make, git and ca-certificates.

`python -m tests.fresh [RELEASE ...]` makes the root file system of each release with mmdebstrap, clones this
checkout into it (what is committed), enters it in namespaces of its own and runs `make lab` and `make test` there.
A program that a target calls but does not install is missing there, so the command fails. The machine gives
its kernel, its network, its package clients' settings and the clients' download caches; no program comes from it.
`bare` makes the root file system, `entry` enters it and removes everything.
"""
