"""An attachment's plans on their way to the kernel: by stencil where its network is known, else encoded anew."""

from __future__ import annotations

from collections.abc import Callable

from podwire.kernel.apply import Excuse, Indexes, apply, judge
from podwire.kernel.host import Host
from podwire.kernel.netlink import Netlink
from podwire.kernel.read import Link
from podwire.kernel.stencil import Stencil
from podwire.plan.operations import Operation
from podwire.pod.wiring import Wiring
from podwire.verbs import imaginary
from podwire.verbs.call import Call
from podwire.verbs.network import Shapes, Stencils

Plan = Callable[[Wiring], list[Operation]]
ANSWER = "answer"
MOST_SHAPES = 64
"""Interfaces' names are the runtime's choice: nobody may fill the agent's memory with them."""


class Sending:
    """Sends the plans of one attachment. `wiring` may be decided anew between two of them."""

    def __init__(self, call: Call, host: Host, gateway: Link, wiring: Wiring, shapes: Shapes | None) -> None:
        """`shapes` are the network's stencils; None where it has none."""
        self._call = call
        self._host = host
        self._gateway = gateway
        self._shapes = shapes
        self.become(wiring)

    def become(self, wiring: Wiring) -> None:
        """The wiring as it is decided now."""
        self.wiring = wiring
        self._index_of: Indexes | None = None
        self._stencils: Stencils | None = None
        if self._shapes is not None and not wiring.born_mac:
            self._values = imaginary.values(wiring, self._gateway, self._call.netns)
            shape = imaginary.shape(wiring, self._values)
            self._stencils = self._shapes.get(shape)
            if self._stencils is None:
                if len(self._shapes) >= MOST_SHAPES:
                    self._shapes.clear()
                self._stencils = self._shapes[shape] = {}

    @property
    def index_of(self) -> Indexes:
        """The indexes of the host's devices."""
        if self._index_of is None:
            known = {self._gateway.name: self._gateway.index}
            if self.wiring.index:
                known[self.wiring.device] = self.wiring.index
            self._index_of = Indexes(self._host.socket, known)
        return self._index_of

    def to_host(self, plan: Plan) -> list[Operation]:
        """Carry out a plan on the host; the altnames in it that are taken. Raises KernelRefusedError."""
        socket = self._host.socket
        if (stencil := self._stencil(plan)) is None:
            return apply(socket, plan(self.wiring), self.index_of, pod_netns=self._call.netns)
        refusals = stencil.send(socket, self._values)
        return judge(plan(self.wiring), refusals) if refusals else []

    def to_pod(self, plan: Plan, pod: Netlink, excused: Excuse) -> None:
        """Carry out a plan in the pod. Raises KernelRefusedError."""
        if (stencil := self._stencil(plan)) is None:
            apply(pod, plan(self.wiring), pod=True, excused=excused)
        elif refusals := stencil.send(pod, self._values):
            judge(plan(self.wiring), refusals, pod=True, excused=excused)

    def _stencil(self, plan: Plan) -> Stencil | None:
        if self._stencils is None:
            return None
        if plan not in self._stencils:
            self._stencils[plan] = imaginary.stencil(plan, self.wiring)
        found = self._stencils[plan]
        return found if isinstance(found, Stencil) else None

    def answer(self) -> bytes:
        """What ADD prints."""
        if self._stencils is not None:
            if ANSWER not in self._stencils:
                self._stencils[ANSWER] = imaginary.answer_format(self.wiring)
            found = self._stencils[ANSWER]
            if isinstance(found, bytes):
                return found % self._values
        return imaginary.answer(self.wiring, self._gateway.mac)
