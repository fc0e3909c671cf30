# SPDX-License-Identifier: Apache-2.0
"""Datapaths: how packets get from and to pods. Nothing outside of this package asks for a mode.

Within a node: `protocol` says what a mode must answer, `bridge` and `routed` are the two modes, `modes` is the registry
by name. `gateway` is the host's device with the gateway addresses, `wiring` turns what was decided about one attachment
into operations. Between nodes: `peers` computes and reads what the kernel has for other nodes' pods, by `direct` routes
or over `vxlan`.
"""
