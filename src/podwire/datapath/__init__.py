"""Datapaths: how packets get from and to pods.

Within a node: `protocol` says what a mode must answer, `bridge` and `routed` are the two modes, `modes` is the registry
by name. `gateway` is the host's device with the gateway addresses, `wiring` turns what was decided about one attachment
into operations. Nothing outside of this package asks for the mode.

Between nodes: the routes, and the VXLAN devices where a peer is not on-link.
"""
