# SPDX-License-Identifier: Apache-2.0
"""From Nodes to this node's settings and its peers: which pod CIDRs and addresses count, and what is wrong. No effects.

A changed Node costs the work of one Node: it alone is parsed, and only Nodes with a pod CIDR or an address that
conflicts with one of its own are looked at again (see `podwire.kube.claims`).
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import cast

from msgspec import Struct, field
from msgspec.structs import replace

from podwire.ip import Address, Network
from podwire.kube.claims import CidrIndex, Claim, ClaimIndex
from podwire.kube.objects import NodeInfo
from podwire.node.settings import NodeSettings, Peer, PeerError, Span, span_of
from podwire.observe.events import Problem
from podwire.text import shown

POD_CIDR_NOT_ASSIGNED, POD_CIDR_INVALID = "PodCIDRNotAssigned", "PodCIDRInvalid"
POD_CIDR_OUTSIDE_CLUSTER, POD_CIDR_CONFLICT = "PodCIDROutsideCluster", "PodCIDRConflict"
ADDRESS_MISSING, ADDRESS_CONFLICT = "AddressMissing", "AddressConflict"
NODE_MISSING, NODE_REFUSED = "NodeMissing", "NodeRefused"


class Delta(Struct):
    """What one or more updates changed.

    `settings`: this node's own, None if they did not change. `upserted`, `removed`: peers by name. `problems`: all
    problems of each Node whose problems changed; none for a Node that is good now.
    """

    settings: NodeSettings | None = None
    upserted: dict[str, Peer] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    problems: dict[str, tuple[Problem, ...]] = field(default_factory=dict)

    def add(self, later: Delta) -> None:
        """Take in what a later update changed."""
        self.settings = later.settings or self.settings
        self.removed = (self.removed - later.upserted.keys()) | later.removed
        self.upserted |= later.upserted
        for name in later.removed:
            self.upserted.pop(name, None)
        self.problems.update(later.problems)


class _Node(Struct):
    """A Node, parsed once; `claims` are those of its pod CIDRs, `networks` their values.

    `peer` has the name and the addresses, and no pod CIDRs; None if one of these is wrong.
    """

    info: NodeInfo
    peer: Peer | None
    networks: tuple[Network, ...]
    claims: tuple[Claim, ...]
    problems: tuple[Problem, ...]
    address_claims: tuple[Claim, ...] = ()


class NodeTable:
    """The Nodes of a cluster, as node `own_name` sees them."""

    def __init__(self, own_name: str, cluster: NodeSettings, own: NodeSettings | None = None) -> None:
        """`cluster` has the settings of the whole cluster; its name, addresses and pod CIDRs are not used.

        `own`: this node's settings that are applied now, if any: it keeps them until its Node is good.
        """
        self._own_name = own_name
        self._cluster = cluster
        self._cluster_spans = [span_of(network) for network in cluster.cluster_cidrs]
        self._nodes: dict[str, _Node] = {}
        self._cidrs = CidrIndex()
        self._addresses = ClaimIndex()
        self._missing = (Problem(own_name, NODE_MISSING, f"there is no Node {own_name}: is --node-name right?"),)
        self.own: NodeSettings | None = None
        """This node's settings; None until its Node is good for the first time. A bad Node does not change them."""

        if own and all(self._inside_cluster(span_of(network)) for network in own.pod_cidrs):
            self.own = replace(cluster, name=own.name, addresses=own.addresses, pod_cidrs=own.pod_cidrs)
        self._own_spans = [span_of(network) for network in self.own.pod_cidrs] if self.own else []
        self.peers: dict[str, Peer] = {}
        self.problems: dict[str, tuple[Problem, ...]] = {own_name: self._missing}
        """All problems, by the name of the Node."""

    def update(self, name: str, info: NodeInfo | None) -> Delta:
        """A Node that is new, or other than before; None if it is gone.

        Of several changes this node's own comes last: it must not take for good what an older Node in the list claims.
        """
        before = self._nodes.pop(name, None)
        node = self._parse(info) if info else None
        affected = {name}
        if before:
            affected |= self._addresses.change(before.address_claims, ())
        if node:
            self._nodes[name] = node
        affected |= self._cidrs.change(before.claims if before else (), node.claims if node else ())
        for other in tuple(affected):
            affected |= self._claim_addresses(other)
        delta = Delta()
        if self._own_name in affected:
            affected |= self._update_own(delta)
        for other in affected:
            self._update_peer(other, delta)
        return delta

    def addresses(self, name: str) -> tuple[Address, ...]:
        """The addresses of a Node; none where there is no such Node, or one of them is wrong."""
        node = self._nodes.get(name)
        return node.peer.addresses if node and node.peer else ()

    def _parse(self, info: NodeInfo) -> _Node:
        problems, networks, claims = [], [], []
        for position, text in enumerate(info.pod_cidrs):
            try:
                network = ip_network(text)
            except ValueError:
                words = f"podCIDR {shown(text)} is not a CIDR: correct the Node"
                problems.append(Problem(info.name, POD_CIDR_INVALID, words))
                continue
            span = span_of(network)
            if self._inside_cluster(span):
                networks.append(network)
                claims.append(Claim((info.created, info.name, position), (span,)))
            else:
                problems.append(Problem(info.name, POD_CIDR_OUTSIDE_CLUSTER, self._outside(text)))
        if not info.pod_cidrs:
            words = "has no podCIDR: give the controller manager --cluster-cidr and --allocate-node-cidrs"
            problems.append(Problem(info.name, POD_CIDR_NOT_ASSIGNED, f"{words} (kubeadm init --pod-network-cidr)"))
        peer = None
        if info.addresses:
            try:
                peer = Peer.parse(info.name, info.addresses, ())
            except PeerError as wrong:
                problems.append(Problem(info.name, NODE_REFUSED, str(wrong)))
        else:
            problems.append(Problem(info.name, ADDRESS_MISSING, "has no InternalIP: set --node-ip of its kubelet"))
        return _Node(info, peer, tuple(networks), tuple(claims), tuple(problems))

    def _inside_cluster(self, span: Span) -> bool:
        return any(span[0] == whole[0] and whole[1] <= span[1] and span[2] <= whole[2] for whole in self._cluster_spans)

    def _outside(self, text: str) -> str:
        listed = ", ".join(map(str, self._cluster.cluster_cidrs))
        words = f"podCIDR {text} lies outside the cluster CIDRs {listed}: correct cluster_cidrs"
        return f"{words} in podwire's configuration, or the Node"

    def _claim_addresses(self, name: str) -> set[str]:
        """Let a peer claim its addresses if it has a pod CIDR to be reached at; the peers that this affects."""
        node = self._nodes.get(name)
        if node is None or name == self._own_name:
            return set()
        before, wanted = node.address_claims, any(claim.holds for claim in node.claims) and node.peer
        if bool(wanted) == bool(before):
            return set()
        node.address_claims = (Claim((node.info.created, name, 0), wanted.addresses),) if wanted else ()
        return self._addresses.change(before, node.address_claims)

    def _update_own(self, delta: Delta) -> set[str]:
        """This node's settings after a change of its Node; the peers that these conflict with, before and after."""
        node, own = self._nodes.get(self._own_name), self.own
        if node is None or node.peer is None:
            return set()
        networks = tuple(network for network, claim in zip(node.networks, node.claims, strict=True) if claim.holds)
        if not networks:
            return set()
        self.own = replace(self._cluster, name=node.info.name, addresses=node.peer.addresses, pod_cidrs=networks)
        if self.own == own:
            return set()
        delta.settings = self.own
        spans, self._own_spans = self._own_spans, [span_of(network) for network in networks]
        addresses = (*self.own.addresses, *(own.addresses if own else ()))
        affected = (*self._addresses.conflicting(addresses), *self._cidrs.conflicting(spans + self._own_spans))
        return {claim.node for claim in affected}

    def _update_peer(self, name: str, delta: Delta) -> None:
        """A Node's peer and its problems after a change."""
        node = self._nodes.get(name)
        problems = list(node.problems if node else self._missing if name == self._own_name else ())
        peer = self._peer(node, problems) if node else None
        if peer is None or name == self._own_name:
            if self.peers.pop(name, None):
                delta.removed.add(name)
        elif self.peers.get(name) != peer:
            self.peers[name] = delta.upserted[name] = peer
        found = tuple(problems)
        if self.problems.get(name, ()) != found:
            delta.problems[name] = found
            if found:
                self.problems[name] = found
            else:
                del self.problems[name]

    def _peer(self, node: _Node, problems: list[Problem]) -> Peer | None:
        """The peer with the pod CIDRs that count; None if it cannot be reached. Adds what is in conflict."""
        name, kept = node.info.name, []
        for network, claim in zip(node.networks, node.claims, strict=True):
            text = node.info.pod_cidrs[claim.order[2]]
            if claim.lost_to is not None:
                problems.append(Problem(name, POD_CIDR_CONFLICT, self._overlap(text, claim.lost_to)))
            elif reason := self._unusable(node, claim):
                problems.append(Problem(name, reason[0], f"podCIDR {text} {reason[1]}"))
            else:
                kept.append((network, *claim.keys))
        if node.peer is None or not kept:
            return None
        if shared := self._shared_address(node):
            problems.append(Problem(name, ADDRESS_CONFLICT, shared))
            return None
        networks, spans = zip(*kept, strict=True)
        return replace(node.peer, pod_cidrs=networks, spans=spans)

    def _overlap(self, text: str, winner: Claim) -> str:
        other = self._nodes[winner.node].info
        words = f"podCIDR {text} overlaps {other.pod_cidrs[winner.order[2]]} of the older Node {other.name}"
        return f"{words}: delete this Node and let it join again"

    def _unusable(self, node: _Node, claim: Claim) -> tuple[str, str] | None:
        """Why this node cannot use a pod CIDR that its peer keeps: the reason, and the end of a sentence."""
        version, first, last = cast("Span", claim.keys[0])
        if claim.node == self._own_name or node.peer is None:
            return None
        for number, (own_version, own_first, own_last) in enumerate(self._own_spans):
            if version == own_version and first <= own_last and own_first <= last:
                assert self.own is not None
                words = f"overlaps {self.own.pod_cidrs[number]}, which pods on node {self._own_name} have"
                return POD_CIDR_CONFLICT, f"{words}: drain that node and let it join again"
        if self._cluster.tunnel.when == "never" and all(address.version != version for address in node.peer.addresses):
            return ADDRESS_MISSING, f"needs an IPv{version} InternalIP, or a tunnel: set --node-ip of its kubelet"
        return None

    def _shared_address(self, node: _Node) -> str:
        """Which address another node has as well; "" if none."""
        assert node.peer is not None
        for address in node.peer.addresses:
            if self.own and address in self.own.addresses and node.info.name != self._own_name:
                return _shared(address, self._own_name)
        for lost_to in (claim.lost_to for claim in node.address_claims if claim.lost_to):
            address = next(address for address in node.peer.addresses if address in lost_to.keys)
            return _shared(address, f"the older Node {lost_to.node}")
        return ""


def _shared(address: Address, owner: str) -> str:
    return f"{address} is an InternalIP of {owner} as well: delete the Node that no longer exists"
