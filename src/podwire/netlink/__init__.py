# SPDX-License-Identifier: Apache-2.0
"""Netlink: everything that podwire reads from and writes to the kernel's network configuration.

A change is an operation: plain data such as `AddRoute`, which can print the `ip`, `bridge` or `tc` command that it
equals (`operations`, `tc_operations`). `rtnl` and `tc` encode operations, `apply` sends them in batches and names the
command that the kernel refused. It is written for podwire because an ADD takes 3 ms: a library that parses every
attribute, or a process for each command, would take longer than that.
"""
