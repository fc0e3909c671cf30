# SPDX-License-Identifier: Apache-2.0
"""From a call's bytes to its answer's bytes: parse, check versions, run the verb, answer (sections 2 and 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from podwire.attachments.identity import Attachment
from podwire.cni import document
from podwire.cni.document import JsonObject
from podwire.cni.errors import INCOMPATIBLE_VERSION, KERNEL_REFUSED, CniError
from podwire.cni.request import Request, parse_request
from podwire.cni.versions import FIRST_VERSION, NEWEST, SUPPORTED, knows_verb
from podwire.netlink.host import Host
from podwire.plugin.config import parse_configuration, parse_identity, version_of
from podwire.plugin.context import Invocation, PluginState
from podwire.plugin.network import PodNetwork, pod_network
from podwire.plugin.timings import Timings
from podwire.record import Record

Verb = Callable[[Invocation], bytes | None]
CACHED_BYTES = 16 * 1024
ABOUT = (
    "podwire: a CNI plugin that wires pods by bridge or by route.\n"
    "It is run by a container runtime, with CNI_COMMAND in its environment; see `podwire --help`.\n"
    f"CNI protocol versions supported: {', '.join(SUPPORTED)}\n"
)


class Answer(Record):
    """What the plugin prints and exits with; only the about text goes to standard error (`to_stderr`)."""

    status: int
    body: bytes
    to_stderr: bool = False


def serve(
    environment: Mapping[str, str], stdin: bytes, netns: int, host: Host, state: PluginState, timings: Timings
) -> Answer:
    """Answer one call. Never raises: an unexpected exception becomes an error object as well."""
    if not environment.get("CNI_COMMAND"):
        return Answer(0, ABOUT.encode(), to_stderr=True)
    try:
        request = parse_request(environment)
        if request.verb == "VERSION":
            return Answer(0, document.dump(versions(stdin)))
        if request.verb == "ADD" and state.templates:
            body = state.templates.add(request, stdin, netns, host, timings)
            if body is not None:
                return Answer(0, body)
        return Answer(0, _run(_invocation(request, stdin, netns, host, state, timings)))
    except CniError as refused:
        return refusal(refused, stdin)
    except Exception as unexpected:  # noqa: BLE001  a traceback must never reach a runtime
        message = f"internal error in podwire ({type(unexpected).__name__}: {unexpected}): please report it"
        return refusal(CniError(KERNEL_REFUSED, message), stdin)


def undo(environment: Mapping[str, str], stdin: bytes, answer: Answer, host: Host, state: PluginState) -> None:
    """Undo an ADD whose answer could not be delivered: run DEL if it succeeded. Other verbs leave nothing to undo."""
    if environment.get("CNI_COMMAND") == "ADD" and answer.status == 0:
        serve({**environment, "CNI_COMMAND": "DEL"}, stdin, -1, host, state, Timings())


def versions(stdin: bytes) -> JsonObject:
    """The answer to VERSION; standard input that cannot be parsed is no error."""
    asked = version_of(stdin) if stdin.strip() else NEWEST
    return {"cniVersion": asked, "supportedVersions": list(SUPPORTED)}


def refusal(refused: CniError, stdin: bytes) -> Answer:
    """An error object (section 5: Error)."""
    body: JsonObject = {"cniVersion": version_of(stdin), "code": refused.code, "msg": refused.message}
    if refused.details:
        body["details"] = refused.details
    return Answer(1, document.dump(body))


def _invocation(
    request: Request, stdin: bytes, netns: int, host: Host, state: PluginState, timings: Timings
) -> Invocation:
    network = _network(request.verb, stdin)
    config = network.config
    if request.verb in FIRST_VERSION and not knows_verb(config.version, request.verb):
        raise CniError(
            INCOMPATIBLE_VERSION,
            f"{request.verb} does not exist in cniVersion={config.version}: raise the configuration's cniVersion",
            f"supported versions: {', '.join(SUPPORTED)}",
        )
    attachment = Attachment(config.name, request.container_id, request.ifname, request.pod)
    timings.end("parse")
    return Invocation(request, network, config, attachment, stdin, netns, host, state, timings)


def _network(verb: str, stdin: bytes) -> PodNetwork:
    """The network of the configuration; raises CniError.

    DEL needs only its name: a configuration that has become wrong since ADD must not keep a pod from being removed.
    """
    try:
        return _cached(stdin) if len(stdin) <= CACHED_BYTES else pod_network(parse_configuration(stdin))
    except CniError:
        if verb != "DEL":
            raise
        return pod_network(parse_identity(stdin))


@lru_cache(maxsize=16)
def _cached(stdin: bytes) -> PodNetwork:
    """The same configuration comes with every pod of a network."""
    return pod_network(parse_configuration(stdin))


def _run(invocation: Invocation) -> bytes:
    verbs = LOOPBACK_VERBS if invocation.config.type == "loopback" else VERBS
    answer = verbs[invocation.request.verb](invocation)
    if answer:
        invocation.timings.end("result")
    return answer or b""


@lru_cache(maxsize=16)
def _function(module: str, verb: str) -> Verb:
    function: Verb = getattr(__import__(f"podwire.plugin.{module}", fromlist=[verb]), verb)
    return function


def _load(module: str, verb: str) -> Verb:
    """A verb's function in a module that its first call loads: a call without agent loads no other verb (ADR 8)."""

    def run(invocation: Invocation) -> bytes | None:
        return _function(module, verb)(invocation)

    return run


def _add(invocation: Invocation) -> bytes:
    from podwire.plugin.add import add

    answer = add(invocation)
    state, stdin = invocation.state, invocation.stdin
    if state.templates and len(stdin) <= CACHED_BYTES:  # the next ADD of this network may use a template
        state.templates.learn(stdin, invocation.request.ifname, invocation.network, invocation.host, state.firewall)
    return answer


def _nothing(_: Invocation) -> None:
    """The kernel deletes `lo` with its namespace, and it needs nothing of the host."""


# What each verb does; ADD returns its answer.
VERBS: Mapping[str, Verb] = {
    "ADD": _add,
    "CHECK": _load("check", "check"),
    "DEL": _load("delete", "delete"),
    "GC": _load("gc", "collect"),
    "STATUS": _load("status", "status"),
}
# The same for `type: loopback`.
LOOPBACK_VERBS: Mapping[str, Verb] = {
    **dict.fromkeys(VERBS, _nothing),
    "ADD": _load("loopback", "add"),
    "CHECK": _load("loopback", "check"),
}
