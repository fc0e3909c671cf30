# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at every step of ADD and of DEL: whatever dies, nothing stays behind and a retry succeeds.

Each test kills the agent, the shim or the one-shot process before its first, second, third … effective system
call, until a run passes unharmed. `PODWIRE_KILL_STRIDE=N` takes a sample, for slow machines: every N-th step,
each with one way to go on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.namespaces.ground import MODES, assert_wired, configuration, left_in_pod, state
from tests.namespaces.stepper import UNNOTICED, Run, Stepper, idle
from tests.support.agent import Agent
from tests.support.namespace import Host, Namespace, left_after, wait_until
from tests.support.plugin import SEARCH_PATH, Outcome, Plugin
from tests.support.snapshot import Snapshot, difference

STRIDE = int(os.environ.get("PODWIRE_KILL_STRIDE", "1"))
TRY_AGAIN_LATER = 11
ADD_DEADLINE_SECONDS = 60
STEPS_AT_LEAST = 5
STEPS_AT_MOST = 5_000
NEVER = 1_000_000

VICTIMS = ("agent", "shim", "oneshot")
ENDINGS = ("DEL", "GC", "netns")


@dataclass
class Node:
    """A host with podwire installed, in the state that it has between pods, and one victim to kill."""

    host: Host
    bin_dir: Path
    folder: Path
    mode: str
    victim: str
    agent: Agent | None = None
    config: dict[str, Any] = field(default_factory=dict)
    clean: Snapshot = frozenset()
    serial: int = 0

    def __post_init__(self) -> None:
        self.config = configuration(self.mode)

    @property
    def plugin(self) -> Plugin:
        """The installed shim; whether the agent answers depends on whether it runs."""
        socket = self.folder / "agent.sock"
        return Plugin(self.bin_dir / "podwire", self.host, environment={"PODWIRE_SOCKET": str(socket)})

    def settle(self) -> None:
        """Let a first pod come and go, so that the host has its gateway, forwarding and firewall."""
        self.revive()
        with Namespace() as pod:
            self.add(pod, "first")
            assert self.plugin.cni_del(self.config, "first", pod.path).ok
            self.clean = state(self.host)

    def revive(self) -> None:
        """Start the agent (again), unless this node has none."""
        if self.victim != "oneshot" and (self.agent is None or self.agent.process.poll() is not None):
            self.agent = Agent(self.host, self.folder)

    def add(self, pod: Namespace, container: str) -> Outcome:
        """An ADD that must succeed and whose pod must be reachable."""
        added = self.plugin.cni_add(self.config, container, pod.path)
        assert added.ok, added
        assert_wired(self.host, pod, added.document)
        return added

    def attempt(self, verb: str, pod: Namespace, container: str, kill_before: int) -> Run:
        """Execute one verb and kill the victim before a step."""
        plugin = self.plugin
        environment = {"PATH": SEARCH_PATH, **plugin.environment}
        environment |= {k: str(v) for k, v in plugin.variables(verb, container, pod.path, "eth0").items()}
        argv = self.host.argv(str(plugin.binary))
        agent = self.agent.pid if self.victim == "agent" and self.agent else None
        return Stepper(kill_before).run(argv, environment, json.dumps(self.config).encode(), agent)

    def end(self, how: str, pod: Namespace, container: str) -> None:
        """What a runtime does next: DEL, GC without this attachment, or nothing but the namespace's end."""
        if how == "DEL":
            self.revive()
            ended = self.plugin.cni_del(self.config, container, pod.path)
            assert ended.ok, ended
            assert ended.stdout == b""
        elif how == "GC":
            # With a dead agent this is the one-shot path's work; the retry is the new agent's.
            ended = self.plugin.cni_gc({**self.config, "cni.dev/valid-attachments": []})
            assert ended.ok, ended
        else:
            pod.delete()
        if self.agent is not None:
            assert wait_until(lambda: self.agent is None or idle(self.agent.pid))

    def assert_clean(self, eventually: bool = False) -> None:
        """The host is as it was before the pod; a namespace's end takes the kernel a moment."""
        left = left_after(lambda: difference(self.clean, state(self.host)), 30 if eventually else 0)
        assert not left, "\n".join(left)


@pytest.fixture
def node(host: Host, bin_dir: Path, tmp_path: Path, mode: str, victim: str) -> Iterator[Node]:
    """A settled node; its agent ends with the test."""
    node = Node(host, bin_dir, tmp_path, mode, victim)
    try:
        node.settle()
        yield node
    finally:
        if node.agent is not None:
            node.agent.stop()


def assert_answer(node: Node, run: Run, verb: str, pod: Namespace) -> None:
    """What the runtime sees of a kill. Only the agent's death leaves somebody to answer for it."""
    if node.victim != "agent":
        assert run.status == -9, run
    elif verb == "DEL":
        assert (run.status, run.stdout) == (0, b""), run
    elif run.status == 0:
        assert_wired(node.host, pod, json.loads(run.stdout))
    else:
        error = json.loads(run.stdout)
        assert error["code"] == TRY_AGAIN_LATER, run
        assert error["cniVersion"] == node.config["cniVersion"], run
    assert run.seconds < ADD_DEADLINE_SECONDS, run


def kill_once(node: Node, verb: str, ending: str, kill_before: int) -> Run:
    """One pod's life with a kill in it, and a second life with the same names after it."""
    try:
        return _two_lives(node, verb, ending, kill_before)
    except AssertionError as wrong:
        wrong.add_note(f"the {node.victim} was killed before step {kill_before} of {verb}; {ending} followed")
        raise


def _two_lives(node: Node, verb: str, ending: str, kill_before: int) -> Run:
    node.serial += 1
    container = f"c{node.serial}"
    node.revive()
    with Namespace() as pod, Namespace() as second:
        empty = state(pod)
        if verb == "DEL":
            node.add(pod, container)
        run = node.attempt(verb, pod, container, kill_before)
        if run.killed:
            assert_answer(node, run, verb, pod)
        else:
            assert run.status == 0, run
        node.end(ending, pod, container)
        node.assert_clean(eventually=ending == "netns")
        if ending != "netns":
            assert not left_in_pod(empty, pod)
        again = second if ending == "netns" else pod
        node.revive()
        node.add(again, container)
        assert node.plugin.cni_del(node.config, container, again.path).ok
        node.assert_clean()
    return run


@pytest.mark.failure_mode("addresses leak until none is left")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("verb", ["ADD", "DEL"])
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_kill_at_any_step_leaves_nothing(node: Node, verb: str) -> None:
    """A DEL, a GC or the namespace's end then cleans up all of it, and the same pod can be added again.

    Before a step that changes something, each of the three follows; before the others, one in turn.
    """
    for kill_before in range(1, STEPS_AT_MOST, STRIDE):
        turn = kill_before // STRIDE % len(ENDINGS)
        run = kill_once(node, verb, ENDINGS[turn], kill_before)
        if not run.killed:
            break
        if run.steps[-1] not in UNNOTICED and STRIDE == 1:
            kill_once(node, verb, ENDINGS[turn - 1], kill_before)
            kill_once(node, verb, ENDINGS[turn - 2], kill_before)
    assert not run.killed, f"{STEPS_AT_MOST} steps and no end"
    assert kill_before > STEPS_AT_LEAST or STRIDE > 1, run


@pytest.mark.parametrize("mode", MODES)
def test_a_kill_on_a_node_that_never_had_a_pod(bin_dir: Path, tmp_path: Path, mode: str) -> None:
    """The first ADD also makes the gateway, forwarding and firewall: half of these is as good as none."""
    first_life(bin_dir, tmp_path, mode, NEVER)  # which also writes the bytecode that the later ones read
    unharmed, whole = first_life(bin_dir, tmp_path, mode, NEVER)
    assert not unharmed.killed
    steps = [each for each in list(enumerate(unharmed.steps, start=1))[::STRIDE] if each[1] not in UNNOTICED]
    assert len(steps) > STEPS_AT_LEAST or STRIDE > 1
    assert steps
    for kill_before, step in steps:
        run, after = first_life(bin_dir, tmp_path, mode, kill_before)
        assert run.killed, f"the steps of two runs differ: {unharmed.steps}\n{run.steps}"
        left = difference(whole, after)
        assert not left, "\n".join([f"after a kill before step {kill_before} ({step})", *left])


def first_life(bin_dir: Path, folder: Path, mode: str, kill_before: int) -> tuple[Run, Snapshot]:
    """ADD on a fresh host, killed; then DEL, ADD and DEL: the killed run, and the host's state in the end."""
    with Host() as host, Namespace() as pod:
        node = Node(host, bin_dir, folder, mode, "oneshot")
        run = node.attempt("ADD", pod, "c", kill_before)
        assert node.plugin.cni_del(node.config, "c", pod.path).ok
        node.add(pod, "c")
        assert node.plugin.cni_del(node.config, "c", pod.path).ok
        return run, state(host)
