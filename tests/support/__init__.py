# SPDX-License-Identifier: Apache-2.0
"""The ground that all test layers stand on: namespaces, snapshots of the kernel, plugins, the agent."""
