"""KubernetesSource for the loop that still takes whole settings; goes with that loop."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from podwire.kube.source import KubernetesSource
from podwire.node.old_settings import Peer, RawCni, Settings
from podwire.node.old_source import KnownNode
from podwire.node.settings import NodeSettings
from podwire.node.settings import Peer as NewPeer


class OldKubernetesSource(KubernetesSource):
    """See `podwire.node.old_source.Source`."""

    _current: NodeSettings | None = None
    _peers: dict[str, Peer]

    def first(self) -> None:
        """Begin to follow."""
        self._peers = {}
        self.start()

    def news(self) -> Settings | None:
        """Whole settings, if something changed."""
        change = self.changes()
        if change is None:
            return None
        self._current = change.settings or self._current
        assert self._current is not None
        known = {} if change.complete else {key: peer for key, peer in self._peers.items() if key not in change.removed}
        self._peers = known | {name: _old_peer(peer) for name, peer in change.upserted.items()}
        own = self._current
        return Settings(
            name=own.name,
            addresses=own.addresses,
            pod_ranges=own.pod_cidrs,
            cluster=own.cluster_cidrs,
            mode=own.mode,
            mtu=own.mtu,
            masquerade=own.masquerade,
            exceptions=own.masquerade_exceptions,
            tunnel=own.tunnel.when,
            vni=own.tunnel.vni,
            port=own.tunnel.port,
            cni=RawCni(**structs.asdict(own.cni)),
            peers=self._peers,
        )

    def applied(  # type: ignore[override]
        self, settings: Settings, changes: int, seconds: float, problems: Sequence[str]
    ) -> None:
        """The host is as the Nodes want it."""
        cidrs = ",".join(map(str, settings.pod_ranges))
        counts = f"peers={len(settings.peers)} changes={changes} ms={seconds * 1000:.1f}"
        unreachable = f" unreachable={len(problems)}" if problems else ""
        self._log.note(f"node {settings.name}: ranges={cidrs} {counts}{unreachable}")
        super().applied()

    def nodes(self) -> list[KnownNode]:  # type: ignore[override]
        """All Nodes."""
        return [
            KnownNode(node.name, node.addresses, node.pod_cidrs, node.version, node.problem, node.news)
            for node in super().nodes()
        ]


def _old_peer(peer: NewPeer) -> Peer:
    return Peer(peer.name, peer.addresses, peer.pod_cidrs, peer.tunnel, peer.spans, peer.packed)
