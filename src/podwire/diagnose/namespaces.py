# SPDX-License-Identifier: Apache-2.0
"""The network namespaces of a check: opens them, runs code in them by threads, and reads addresses and MTUs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from podwire.datapath.peers import read_underlay
from podwire.diagnose.endpoints import Endpoint, EndpointError
from podwire.ip import Address
from podwire.netlink import namespaces as namespace
from podwire.netlink import read
from podwire.netlink.socket import Netlink
from podwire.record import replace

Answer = TypeVar("Answer")
LOOPBACK_MTU = 65536


class Namespaces:
    """Descriptors of the endpoints' network namespaces. Raises EndpointError if a namespace cannot be opened."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._descriptors: dict[str, int] = {}
        self._own = namespace.open_own()
        try:
            for endpoint in self.endpoints.values():
                if endpoint.netns:
                    self._descriptors[endpoint.name] = _open(endpoint)
        except EndpointError:
            self.close()
            raise

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in (self._own, *self._descriptors.values()):
            os.close(descriptor)

    def __contains__(self, name: str) -> bool:
        return name in self._descriptors

    def enter(self, name: str) -> None:
        """Move the calling thread into an endpoint's namespace. It stays there: call it only in the check's threads."""
        namespace.setns(self._descriptors[name])

    def run(self, name: str, work: Callable[[], Answer]) -> Answer:
        """Call `work` in an endpoint's namespace, in a new thread."""

        def inside() -> Answer:
            self.enter(name)
            return work()

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(inside).result()

    def distinct(self, names: Iterable[str]) -> dict[str, list[str]]:
        """The names of endpoints with a namespace, grouped by the first name that has the same namespace."""
        groups: dict[tuple[int, int], list[str]] = {}
        for name in names:
            if name in self:
                groups.setdefault(namespace.identity(self._descriptors[name]), []).append(name)
        return {group[0]: group for group in groups.values()}

    def prefix(self, name: str) -> list[str]:
        """The words before a command that run it in an endpoint's namespace; none for the process' own namespace."""
        if namespace.identity(self._descriptors[name]) == namespace.identity(self._own):
            return []
        return ["nsenter", f"--net={self.endpoints[name].netns}"]


def _open(endpoint: Endpoint) -> int:
    label = f"{endpoint.kind} {endpoint.name}: {endpoint.netns}"
    try:
        descriptor = os.open(endpoint.netns, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as refused:
        raise EndpointError(f"{label}: {refused.strerror}: name a network namespace that exists") from None
    if namespace.is_network_namespace(descriptor):
        return descriptor
    os.close(descriptor)
    raise EndpointError(f"{label}: is not a network namespace: name a file such as /run/netns/NAME")


def completed(namespaces: Namespaces) -> list[Endpoint]:
    """The endpoints with the addresses and MTUs that are read from their namespaces.

    Raises EndpointError for an endpoint without an address.
    """

    def complete(endpoint: Endpoint) -> Endpoint:
        if endpoint.name not in namespaces:
            return endpoint
        namespaces.enter(endpoint.name)
        return _complete(endpoint)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(complete, namespaces.endpoints.values()))
    for endpoint in found:
        if not endpoint.addresses:
            reason = "its namespace has no address: check that a CNI plugin configured it"
            raise EndpointError(f"{endpoint.kind} {endpoint.name}: {reason}")
    return found


def _complete(endpoint: Endpoint) -> Endpoint:
    """Read an endpoint's own namespace; the calling thread is in it."""
    with Netlink() as socket:
        links = {link.index: link for link in read.links(socket)}
        rows = [row for version in (4, 6) for row in read.all_addresses(socket, version)]
        underlays = [each.address.ip for each in read_underlay(socket)] if endpoint.kind == "host" else []
    mtus = {
        interface.ip: links[index].mtu
        for index, interface in rows
        if not interface.ip.is_link_local and not interface.ip.is_loopback and index in links
    }
    outward = [address for address, mtu in mtus.items() if mtu < LOOPBACK_MTU]
    first_of_each_family: dict[int, Address] = {}
    for address in underlays or outward or mtus:
        first_of_each_family.setdefault(address.version, address)
    addresses = endpoint.addresses or tuple(first_of_each_family.values())
    mtu = next((mtus[address] for address in addresses if address in mtus), 0)
    return replace(endpoint, addresses=addresses, own=tuple(mtus), mtu=mtu)


class NamespaceThreadPool(ThreadPoolExecutor):
    """A pool of `size` threads; each job runs in the namespace of its endpoint."""

    def __init__(self, namespaces: Namespaces, size: int) -> None:
        super().__init__(size, thread_name_prefix="probe")
        self._namespaces = namespaces

    def __exit__(self, *_: object) -> None:
        self.shutdown(cancel_futures=True)

    def run_all(self, jobs: Iterable[tuple[str, Callable[[], Answer]]]) -> list[Answer]:
        """Run all (endpoint name, job) pairs and return the answers in order."""

        def in_namespace(name: str, job: Callable[[], Answer]) -> Answer:
            self._namespaces.enter(name)
            return job()

        return [future.result() for future in [self.submit(in_namespace, name, job) for name, job in jobs]]
