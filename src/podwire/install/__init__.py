# SPDX-License-Identifier: Apache-2.0
"""What podwire puts on a host outside of the kernel, and the removal of everything.

`files` installs the plugin under its names and the CNI configuration (`cni_config`), each file atomically. `removal`
finds what podwire made in the kernel by names, aliases and tags, removes it, and reads again to prove it. The agent
keeps no files of its own.
"""
