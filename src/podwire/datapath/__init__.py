"""Datapaths: how packets get from and to pods.

Within a node: `protocol` says what a mode must answer, `bridge` and `routed` are the two modes, `modes` is the registry
by name. `gateway` is the host's device with the gateway addresses, `wiring` turns what was decided about one attachment
into operations. Nothing outside of this package asks for the mode.

Between nodes: `peer` has the protocol of a way to reach a peer and the kernel objects for it, `direct` and `vxlan` are
the two ways. `peers` computes what all peers need and the operations from one state to another; `peers_read` reads the
actual state.
"""
