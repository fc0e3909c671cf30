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
from podwire.verbs.network import Stencils

Plan = Callable[[Wiring], list[Operation]]
ANSWER = "answer"


class Sending:
    """Sends the plans of one attachment. `wiring` may be decided anew between two of them."""

    def __init__(self, call: Call, host: Host, gateway: Link, wiring: Wiring) -> None:
        self._call = call
        self._host = host
        self._gateway = gateway
        self._values: dict[bytes, bytes] = {}
        self._stencils: Stencils | None = None
        self.become(wiring)

    def become(self, wiring: Wiring) -> None:
        """The wiring as it is decided now."""
        self.wiring = wiring
        known = {self._gateway.name: self._gateway.index}
        if wiring.index:
            known[wiring.device] = wiring.index
        self.index_of = Indexes(self._host.socket, known)
        shapes = self._call.networks.stencils(self._call.network) if wiring.index and not wiring.born_mac else None
        if shapes is None:
            self._stencils = None
            return
        self._values = imaginary.values(wiring, self._gateway.index, self._call.netns)
        shape = imaginary.shape(wiring, self._values)
        if shape not in shapes:
            shapes[shape] = {}
        self._stencils = shapes[shape]

    def to_host(self, plan: Plan) -> list[Operation]:
        """Carry out a plan on the host; the altnames in it that are taken. Raises KernelRefusedError."""
        stencil = self._stencil(plan)
        if stencil is None:
            return apply(self._host.socket, plan(self.wiring), self.index_of, pod_netns=self._call.netns)
        refusals = stencil.send(self._host.socket, self._values)
        return judge(plan(self.wiring), refusals) if refusals else []

    def to_pod(self, plan: Plan, pod: Netlink, excused: Excuse) -> None:
        """Carry out a plan in the pod. Raises KernelRefusedError."""
        stencil = self._stencil(plan)
        if stencil is None:
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
        wiring, mac = self.wiring, self._gateway.mac
        if self._stencils is None:
            return imaginary.answer(wiring, mac)
        if ANSWER not in self._stencils:
            self._stencils[ANSWER] = imaginary.answer_format(wiring)
        found = self._stencils[ANSWER]
        return found % imaginary.words(wiring, mac) if isinstance(found, bytes) else imaginary.answer(wiring, mac)
