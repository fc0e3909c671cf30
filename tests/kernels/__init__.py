# SPDX-License-Identifier: Apache-2.0
"""Runs the namespace tests on other kernels than the machine's own, under qemu without KVM."""
