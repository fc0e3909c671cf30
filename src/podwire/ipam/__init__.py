# SPDX-License-Identifier: Apache-2.0
"""IPAM: where a pod gets its address, and where it is released.

An address is leased when it is an altname of an attachment's device: the kernel refuses it to a second device and
frees it with the device. `ranges` and `config` are the ranges of a configuration, `allocator` chooses addresses
round-robin and reserves them, `rotation` keeps the last lease in the gateway device's alias, `leases` reads all leases.
`delegate` runs another IPAM plugin instead.
"""
