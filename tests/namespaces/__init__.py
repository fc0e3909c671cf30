# SPDX-License-Identifier: Apache-2.0
"""What podwire does to the kernel, read back from real network namespaces with other tools."""
