"""Follows all Nodes: list, watch, begin anew where the watch's version is too old, wait longer after each failure."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from podwire.kube.client import Api, ApiError, KubernetesConfigError
from podwire.kube.objects import Node, NodeInfo, node_info
from podwire.observe.log import AgentLog

GONE = 410
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 15.0
TOLD_AGAIN_SECONDS = 300.0
SHORT_WATCH_SECONDS = 1.0


class NodeCache:
    """The Nodes as last heard of. A new dictionary for every change that matters, so readers need no lock."""

    def __init__(self) -> None:
        self.infos: dict[str, NodeInfo] | None = None
        """None until the first complete list."""
        self.own: Node | None = None
        self.heard_at = 0.0
        """When the API server last said anything (monotonic seconds)."""


class Informer:
    """Keeps a NodeCache up to date in a thread of its own; `changed` is called for each change, in that thread."""

    def __init__(self, api: Api, own_name: str, log: AgentLog, changed: Callable[[], None]) -> None:
        self._api = api
        self._own_name = own_name
        self._log = log
        self._changed = changed
        self._version = ""
        self._failures = 0
        self._told_at = 0.0
        self.cache = NodeCache()
        self.asked = threading.Event()
        """The API server has answered, or could not be asked, for the first time."""

    def start(self) -> None:
        """Follow until the process ends."""
        threading.Thread(target=self._run, daemon=True, name="nodes").start()

    def _run(self) -> None:
        while True:
            try:
                if not self._version:
                    self._list()
                begun = time.monotonic()
                self._watch()
                if time.monotonic() - begun < SHORT_WATCH_SECONDS:  # a server that ends, or one that is overrun
                    time.sleep(wait_seconds(1))
            except ApiError as failed:
                if failed.code == GONE:
                    self._version = ""
                self._wait(failed, quietly=failed.code == GONE)
            except KubernetesConfigError as wrong:
                self._wait(wrong)
            except Exception as unforeseen:  # noqa: BLE001  whatever a server sends, following goes on
                self._version = ""
                self._wait(unforeseen)

    def _list(self) -> None:
        begun = time.perf_counter()
        version, nodes = self._api.nodes()
        infos: dict[str, NodeInfo] = {}
        own = None
        for node in nodes:
            infos[node.metadata.name] = self._same(node_info(node))
            if node.metadata.name == self._own_name:
                own = node
        self._version = version
        self._heard()
        self.cache.own = own
        if infos != self.cache.infos:
            self.cache.infos = infos
        self._changed()
        self.asked.set()
        took = (time.perf_counter() - begun) * 1000
        self._log.note(f"{self._api.server}: nodes={len(infos)} ms={took:.1f}")

    def _same(self, new: NodeInfo) -> NodeInfo:
        """The node_info that is known already, if it says the same: one object instead of two."""
        old = (self.cache.infos or {}).get(new.name)
        return old if old == new else new

    def _watch(self) -> None:
        for event in self._api.watch(self._version):
            self._version = msgspec.json.decode(event.object, type=Bookmark).metadata.resource_version
            self._heard()
            if event.type == "BOOKMARK":
                continue
            try:
                node = msgspec.json.decode(event.object, type=Node)
            except msgspec.ValidationError as wrong:
                self._log.failed("kubernetes", f"a Node is not understood and stays as it was: {wrong}", once=True)
                continue
            self._take(event.type, node)

    def _take(self, kind: str, node: Node) -> None:
        name = node.metadata.name
        infos = self.cache.infos or {}
        changed = False
        if name == self._own_name:
            self.cache.own = None if kind == "DELETED" else node
            changed = True
        if kind == "DELETED":
            if name in infos:
                self.cache.infos = {key: one for key, one in infos.items() if key != name}
                changed = True
        elif (new := node_info(node)) != (old := infos.get(name)):
            if old is not None and replace(old, version=new.version) == new:
                infos[name] = new  # nobody's paths depend on a version, and all of them change when podwire is updated
            else:
                self.cache.infos = {**infos, name: new}
                changed = True
        if changed:
            self._changed()

    def _heard(self) -> None:
        if self._failures:
            self._log.note(f"{self._api.server}: answers again")
        self._failures = 0
        self._told_at = 0.0
        self.cache.heard_at = time.monotonic()

    def _wait(self, why: Exception, *, quietly: bool = False) -> None:
        """Wait for longer after each failure in a row, and for a random part of it (not all agents at once)."""
        if quietly and not self._failures:
            self._log.note("the watch of nodes is too old: listing them anew")
            time.sleep(wait_seconds(1))
            return
        self._failures += 1
        self.asked.set()
        self._log.remember("kubernetes", str(why))
        now = time.monotonic()
        if self._failures > 1 and (not self._told_at or now - self._told_at > TOLD_AGAIN_SECONDS):
            self._told_at = now
            words = f"no news of nodes: {why}: everything stays as it is meanwhile; trying again"
            self._log.note(words, "error")
        time.sleep(wait_seconds(self._failures))


class BookmarkMeta(msgspec.Struct, rename="camel"):
    """The version that a bookmark tells."""

    resource_version: str


class Bookmark(msgspec.Struct):
    """An object's version; of a bookmark nothing else is there."""

    metadata: BookmarkMeta


def wait_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row: somewhere in the upper half of a span that doubles."""
    longest = min(FIRST_WAIT_SECONDS * 2.0 ** min(failures - 1, 16), LONGEST_WAIT_SECONDS)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load, hides nothing
