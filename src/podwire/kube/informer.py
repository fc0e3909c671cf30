# SPDX-License-Identifier: Apache-2.0
"""An informer: lists and watches one resource of the API server and keeps slim values of its objects in a cache.

A watch that ends is resumed from the last version that it sent; one that is too old begins with a new list; after
failures the informer waits, longer each time. An object that cannot be decoded is logged once and keeps its last
state; it never affects the others.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct

from podwire.kube.client import Api, ApiError, KubernetesConfigError
from podwire.kube.objects import BareObject, ListMeta, ObjectMeta, ObjectPage, Status, WatchEvent
from podwire.observe.log import AgentLog

GONE = 410
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 15.0
LOG_AGAIN_SECONDS = 300.0
SHORT_WATCH_SECONDS = 1.0
Value = TypeVar("Value")


class Cache(Generic[Value]):
    """The slim values of all objects, by key, as last received. The informer's thread writes, any thread reads."""

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self.complete = False
        """A whole list has been received."""

        self.heard_at = 0.0
        """When the API server last sent something (monotonic seconds), 0 if never."""

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Value | None:
        """The value of a key; None where there is no such object."""
        return self._values.get(key)

    def snapshot(self) -> dict[str, Value]:
        """All values at this moment: a copy."""
        return self._values.copy()

    def put(self, key: str, value: Value | None) -> bool:
        """Set a value, or remove it (None). Is it another value than before?"""
        if self._values.get(key) == value:
            return False
        if value is None:
            del self._values[key]
        else:
            self._values[key] = value
        return True

    def replace(self, values: dict[str, Value]) -> set[str]:
        """Set all values; the keys whose values differ. A value that is equal stays the same object."""
        changed = self._values.keys() - values.keys()
        for key, value in values.items():
            old = self._values.get(key)
            if old == value:
                values[key] = old
            else:
                changed.add(key)
        self._values, self.complete = values, True
        return changed


class WireObject(Protocol):
    @property
    def metadata(self) -> ObjectMeta: ...


Wire = TypeVar("Wire", bound=WireObject)


def namespaced_name(metadata: ObjectMeta) -> str:
    """The key of an object in a namespace."""
    return f"{metadata.namespace}/{metadata.name}"


class Resource(Struct, Generic[Wire, Value], frozen=True):
    """A resource that can be listed and watched; `path` is that of its list, as "/api/v1/nodes".

    `wire`: a Struct with the fields to decode, `metadata` among them. `slim`: what is kept of an object.
    """

    kind: str
    path: str
    wire: type[Wire]
    slim: Callable[[Wire], Value]
    key: Callable[[ObjectMeta], str] = attrgetter("name")


class Informer(Generic[Wire, Value]):
    """Keeps `cache` up to date in its own thread, and calls `changed` there with the keys whose values changed."""

    def __init__(
        self, api: Api, resource: Resource[Wire, Value], log: AgentLog, changed: Callable[[Collection[str]], None]
    ) -> None:
        page, event = generic(ObjectPage), generic(WatchEvent)
        self._api, self._resource, self._log, self._changed = api, resource, log, changed
        self._page_decoder = msgspec.json.Decoder(page[resource.wire])
        self._event_decoder = msgspec.json.Decoder(event[resource.wire])
        self._version = ""
        self._failures = 0
        self._logged_at = 0.0
        self.cache: Cache[Value] = Cache()
        self.tried = threading.Event()
        """The first list is there, or has failed."""

    def start(self) -> None:
        """List and watch until the process ends."""
        threading.Thread(target=self._run, daemon=True, name=f"{self._resource.kind}-informer").start()

    def _run(self) -> None:
        while True:
            try:
                if not self._version:
                    self._list()
                began = time.monotonic()
                self._watch()
                if time.monotonic() - began < SHORT_WATCH_SECONDS:  # the server is shutting down, or overloaded
                    time.sleep(wait_seconds(1))
            except ApiError as failed:
                if failed.code == GONE:
                    self._version = ""
                self._wait(failed, quietly=failed.code == GONE)
            except KubernetesConfigError as wrong:
                self._wait(wrong)
            except Exception as unexpected:  # noqa: BLE001  whatever a server sends, the informer goes on
                self._version = ""
                self._wait(unexpected)

    def _list(self) -> None:
        """Read the whole list before anything in the cache changes."""
        began = time.perf_counter()
        values: dict[str, Value] = {}
        page = self._take_page(self._api.list_page(self._resource.path), values)
        version = page.resource_version
        while page.next_page:
            page = self._take_page(self._api.list_page(self._resource.path, page.next_page), values)
        changed, self._version = self.cache.replace(values), version
        self._heard()
        self._changed(changed)
        self.tried.set()
        words = f"listed kind={self._resource.kind} objects={len(values)} ms={(time.perf_counter() - began) * 1000:.1f}"
        self._log.note(f"{self._api.server}: {words}")

    def _take_page(self, data: bytes, values: dict[str, Value]) -> ListMeta:
        """Add the slim values of a page to `values`."""
        resource = self._resource
        try:
            page = self._page_decoder.decode(data)
        except msgspec.ValidationError:
            page = msgspec.json.decode(data, type=generic(ObjectPage)[Raw])
            page.items = [wire for item in page.items or () if (wire := self._decode_item(item, values))]
        for item in page.items or ():
            values[resource.key(item.metadata)] = resource.slim(item)
        metadata: ListMeta = page.metadata
        return metadata

    def _decode_item(self, item: Raw, values: dict[str, Value]) -> Wire | None:
        """One object of a page; None for one that cannot be decoded, which keeps its last state."""
        try:
            return msgspec.json.decode(item, type=self._resource.wire)
        except msgspec.ValidationError as wrong:
            try:
                key = self._resource.key(msgspec.json.decode(item, type=BareObject).metadata)
            except msgspec.ValidationError:
                key = ""
            self._log_undecodable(key, wrong)
            if (last := self.cache.get(key)) is not None:
                values[key] = last
            return None

    def _watch(self) -> None:
        for line in self._api.watch(self._resource.path, self._version):
            kind, metadata, value = self._decoded(line)
            self._version = metadata.resource_version or self._version
            self._heard()
            if value is not None or kind == "DELETED":
                key = self._resource.key(metadata)
                if self.cache.put(key, value):
                    self._changed((key,))

    def _decoded(self, line: bytes) -> tuple[str, ObjectMeta, Value | None]:
        """The type, the metadata and the slim value (if it has one) of a watch's line. Raises ApiError."""
        try:
            event = self._event_decoder.decode(line)
        except msgspec.ValidationError as wrong:
            event = msgspec.json.decode(line, type=generic(WatchEvent)[Raw])
            if event.type != "ERROR":
                metadata = msgspec.json.decode(event.object, type=BareObject).metadata
                if event.type not in ("BOOKMARK", "DELETED"):
                    self._log_undecodable(self._resource.key(metadata), wrong)
                return event.type, metadata, None
        if event.type == "ERROR":
            status = msgspec.json.decode(line, type=generic(WatchEvent)[Status]).object
            raise ApiError(status.code, status.message or status.reason)
        slim = event.type not in ("BOOKMARK", "DELETED")
        return event.type, event.object.metadata, self._resource.slim(event.object) if slim else None

    def _log_undecodable(self, key: str, wrong: msgspec.ValidationError) -> None:
        words = f"{self._resource.kind} {key} cannot be decoded: {wrong}: it keeps its last state"
        self._log.failed("kubernetes", words, once=True)

    def _heard(self) -> None:
        if self._failures:
            self._log.note(f"{self._api.server}: answers again")
        self._failures, self._logged_at = 0, 0.0
        self.cache.heard_at = time.monotonic()

    def _wait(self, why: Exception, *, quietly: bool = False) -> None:
        """Wait, longer after each failure in a row, and for a random part of that time (not all agents at once)."""
        kind = self._resource.kind
        if quietly and not self._failures:
            self._log.note(f"the watch of kind={kind} is too old: listing again")
            time.sleep(wait_seconds(1))
            return
        self._failures += 1
        self.tried.set()
        self._log.remember("kubernetes", str(why))
        now = time.monotonic()
        if self._failures > 1 and (not self._logged_at or now - self._logged_at > LOG_AGAIN_SECONDS):
            self._logged_at = now
            self._log.note(f"watch failed: kind={kind}: {why}: keeping the last state and trying again", "error")
        time.sleep(wait_seconds(self._failures))


def generic(kind: Any) -> Any:
    """A generic Struct, to be given a type that is known only at run time."""
    return kind


def wait_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row: in the upper half of a time that doubles."""
    longest = min(FIRST_WAIT_SECONDS * 2.0 ** min(failures - 1, 16), LONGEST_WAIT_SECONDS)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load, protects nothing
