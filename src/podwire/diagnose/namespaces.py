"""The namespaces of a check: opened once, entered by threads that are the check's own, and read for what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from podwire.datapath.peer_routes_read import read_underlays
from podwire.diagnose.endpoints import Endpoint, EndpointError
from podwire.ip import Address
from podwire.netlink import namespaces as namespace
from podwire.netlink import read
from podwire.netlink.socket import Netlink

Answer = TypeVar("Answer")
LOOPBACK = "lo"


class Places:
    """Descriptors of the endpoints' network namespaces. Raises EndpointError where one cannot be opened."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.endpoints = {one.name: one for one in endpoints}
        self._descriptors: dict[str, int] = {}
        self._own = namespace.open_own()
        try:
            for one in self.endpoints.values():
                if one.netns:
                    self._descriptors[one.name] = _open(one)
        except EndpointError:
            self.close()
            raise

    def __enter__(self) -> Places:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptors."""
        for one in (self._own, *self._descriptors.values()):
            os.close(one)
        self._descriptors.clear()

    def __contains__(self, name: str) -> bool:
        return name in self._descriptors

    def enter(self, name: str) -> None:
        """Move the calling thread into an endpoint's namespace, for good: only for threads of the check's own."""
        namespace.setns(self._descriptors[name])

    def run(self, name: str, work: Callable[[], Answer]) -> Answer:
        """Do something in an endpoint's namespace, in a thread made for it."""

        def inside() -> Answer:
            self.enter(name)
            return work()

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(inside).result()

    def distinct(self, names: Iterable[str]) -> dict[str, list[str]]:
        """The names of endpoints that can be entered, by the first one that lives in the same namespace."""
        firsts: dict[tuple[int, int], str] = {}
        found: dict[str, list[str]] = {}
        for name in names:
            if name in self._descriptors:
                first = firsts.setdefault(namespace.identity(self._descriptors[name]), name)
                found.setdefault(first, []).append(name)
        return found

    def prefix(self, name: str) -> list[str]:
        """What a person types before a command to run it there; nothing for the namespace that we are in."""
        if namespace.identity(self._descriptors[name]) == namespace.identity(self._own):
            return []
        return ["nsenter", f"--net={self.endpoints[name].netns}"]


def _open(endpoint: Endpoint) -> int:
    whose = f"{endpoint.kind} {endpoint.name}: {endpoint.netns}"
    try:
        descriptor = os.open(endpoint.netns, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as refused:
        raise EndpointError(f"{whose}: {refused.strerror}: name a network namespace that is there") from None
    if namespace.is_network_namespace(descriptor):
        return descriptor
    os.close(descriptor)
    raise EndpointError(f"{whose}: is not a network namespace: name a file such as /run/netns/NAME")


def completed(places: Places) -> list[Endpoint]:
    """The endpoints with what their namespaces tell: missing addresses, all own addresses, the MTU.

    Raises EndpointError: an endpoint without any address.
    """
    found = []
    with ThreadPoolExecutor(8) as pool:

        def complete(one: Endpoint) -> Endpoint:
            if one.name not in places:
                return one
            places.enter(one.name)
            return _complete(one)

        found = list(pool.map(complete, places.endpoints.values()))
    for one in found:
        if not one.addresses:
            raise EndpointError(f"{one.kind} {one.name}: its namespace has no address: is it wired?")
    return found


def _complete(one: Endpoint) -> Endpoint:
    """Runs in the endpoint's namespace."""
    with Netlink() as socket:
        links = {link.index: link for link in read.links(socket)}
        rows = [row for version in (4, 6) for row in read.all_addresses(socket, version)]
        underlays = [each.address.ip for each in read_underlays(socket)] if one.kind == "host" else []
    own: list[Address] = []
    mtus: dict[Address, int] = {}
    for index, interface in rows:
        address = interface.ip
        if not address.is_link_local and not address.is_loopback and index in links:
            own.append(address)
            mtus[address] = links[index].mtu
    outward = [address for address in own if links and mtus[address] < 65536]
    addresses = one.addresses or _first_of_each_family(underlays or outward or own)
    mtu = next((mtus[address] for address in addresses if address in mtus), 0)
    return msgspec.structs.replace(one, addresses=addresses, own=tuple(own), mtu=mtu)


def _first_of_each_family(addresses: Sequence[Address]) -> tuple[Address, ...]:
    found: dict[int, Address] = {}
    for one in addresses:
        found.setdefault(one.version, one)
    return tuple(found.values())


class Crew:
    """Threads that do a job each in the namespace where it belongs; as many at once as `size` says."""

    def __init__(self, places: Places, size: int) -> None:
        self._places = places
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="probe")

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def all(self, jobs: Iterable[tuple[str, Callable[[], Answer]]]) -> list[Answer]:
        """Do (place, job) all, and return the answers in order."""

        def one(place: str, job: Callable[[], Answer]) -> Answer:
            self._places.enter(place)
            return job()

        return [future.result() for future in [self._pool.submit(one, place, job) for place, job in jobs]]
