# SPDX-License-Identifier: Apache-2.0
"""Bandwidth: limits of a pod's rates (`bandwidth`), as token buckets of the kernel.

`config` parses what the runtime asks for, `steps` is what ADD and CHECK do, `egress` finds and deletes the egress
devices (ifb), which the kernel does not delete with the veth.
"""
