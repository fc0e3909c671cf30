# SPDX-License-Identifier: Apache-2.0
"""Attachments: pods' interfaces on this host, as the kernel knows them. There is no state file.

The host's end of an attachment's veth is the record of it: `identity` computes the device's name, alias and MAC from
(network, container ID, interface name), `altnames` tells which addresses and host ports the device's altnames reserve,
`read` lists all attachments.
"""
