# SPDX-License-Identifier: Apache-2.0
"""Host ports: ports of the node that lead to a pod (`portMappings`).

A host port is reserved as an altname of the attachment's device (`attachments.altnames`), so the nftables table
follows from the devices alone. `config` parses what the runtime asks for, `steps` is what ADD, DEL and CHECK do,
`table` compares the table with the devices and writes the difference.
"""
