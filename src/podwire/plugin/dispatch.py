"""From a call's bytes to its answer's bytes: parse, check versions, run the verb, answer (section 2 and 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from podwire.attachments.identity import Attachment
from podwire.cni import document
from podwire.cni.document import JsonObject
from podwire.cni.errors import INCOMPATIBLE_VERSION, KERNEL_REFUSED, CniError
from podwire.cni.request import Request, parse_request
from podwire.cni.result import encode_result
from podwire.cni.versions import FIRST_VERSION, NEWEST, SUPPORTED, knows_verb
from podwire.plugin.config import parse_configuration, parse_identity, version_of
from podwire.plugin.host import Host
from podwire.plugin.invocation import Call
from podwire.plugin.network import Network, Networks, network_of
from podwire.record import Record

CACHED_BYTES = 16 * 1024
ABOUT = (
    "podwire: a CNI plug-in that wires pods by bridge or by route.\n"
    "It is run by a container runtime, with CNI_COMMAND in its environment; see `podwire --help`.\n"
    f"CNI protocol versions supported: {', '.join(SUPPORTED)}\n"
)


class Answer(Record):
    """What the plug-in prints and exits with; `to_stderr` for the about text alone."""

    status: int
    body: bytes
    to_stderr: bool = False


def serve(environment: Mapping[str, str], stdin: bytes, netns: int, host: Host, networks: Networks) -> Answer:
    """Answer one call. Never raises: what nobody foresaw becomes an error object as well."""
    host.start_phases()
    if not environment.get("CNI_COMMAND"):
        return Answer(0, ABOUT.encode(), to_stderr=True)
    try:
        if networks.paths and (answer := _short_way(environment, stdin, netns, host, networks)) is not None:
            return Answer(0, answer)
        request = parse_request(environment)
        if request.verb == "VERSION":
            return Answer(0, document.dump(versions(stdin)))
        return _run(request, stdin, netns, host, networks)
    except CniError as refused:
        return refusal(refused, stdin)
    except Exception as unforeseen:  # noqa: BLE001  a traceback must never reach a runtime
        words = f"podwire failed in a way nobody foresaw ({type(unforeseen).__name__}: {unforeseen}): please report it"
        return refusal(CniError(KERNEL_REFUSED, words), stdin)


def _short_way(
    environment: Mapping[str, str], stdin: bytes, netns: int, host: Host, networks: Networks
) -> bytes | None:
    """The answer of an ADD whose pod is like the others of its network; None where the ordinary way has to be gone."""
    path = networks.paths.get((stdin, environment.get("CNI_IFNAME", "")))
    if path is None or environment["CNI_COMMAND"] != "ADD":
        return None
    networks.check_current(path.config)
    return path.add(environment, netns, host)


def versions(stdin: bytes) -> JsonObject:
    """The answer to VERSION; rubbish on standard input is no error."""
    asked = version_of(stdin) if stdin.strip() else NEWEST
    return {"cniVersion": asked, "supportedVersions": list(SUPPORTED)}


def refusal(refused: CniError, stdin: bytes) -> Answer:
    """An error as section 5 wants it."""
    body: JsonObject = {
        "cniVersion": version_of(stdin),
        "code": refused.code,
        "msg": refused.message,
    }
    if refused.details:
        body["details"] = refused.details
    return Answer(1, document.dump(body))


def _run(request: Request, stdin: bytes, netns: int, host: Host, networks: Networks) -> Answer:
    network = _network(request.verb, stdin)
    config = network.config
    if request.verb in FIRST_VERSION and not knows_verb(config.version, request.verb):
        raise CniError(
            INCOMPATIBLE_VERSION,
            f"{request.verb} does not exist in cniVersion={config.version}: raise the configuration's cniVersion",
            f"supported versions: {', '.join(SUPPORTED)}",
        )
    attachment = Attachment(config.name, request.container_id, request.ifname, request.pod)
    call = Call(request, network, network.config, networks, stdin, netns, attachment)
    host.end_phase("parse")
    if request.verb == "ADD":
        answer = Answer(0, _add(call, host))
        host.end_phase("result")
        return answer
    SILENT[request.verb](call, host)
    return Answer(0, b"")


def _network(verb: str, stdin: bytes) -> Network:
    """The network that the configuration describes; raises CniError.

    A DEL needs no more than its name: a configuration that became wrong must not keep a pod from going.
    """
    try:
        return _cached(stdin) if len(stdin) <= CACHED_BYTES else network_of(parse_configuration(stdin))
    except CniError:
        if verb != "DEL":
            raise
        return network_of(parse_identity(stdin))


@lru_cache(maxsize=16)
def _cached(stdin: bytes) -> Network:
    """The same configuration comes with every pod of a network."""
    return network_of(parse_configuration(stdin))


def _add(call: Call, host: Host) -> bytes:
    if call.config.type == "loopback":
        from podwire.plugin import loopback  # noqa: PLC0415

        return document.dump(encode_result(loopback.add(call, host), call.config.version))
    from podwire.plugin.add import add  # noqa: PLC0415

    answer = add(call, host)
    if call.networks.kept and len(call.stdin) <= CACHED_BYTES:
        from podwire.plugin.template.add import learn  # noqa: PLC0415  a process for one call ends here

        learn(call, host)
    return answer


def _check(call: Call, host: Host) -> None:
    if call.config.type == "loopback":
        from podwire.plugin import loopback  # noqa: PLC0415

        return loopback.check(call, host)
    from podwire.plugin.check import check  # noqa: PLC0415

    return check(call, host)


def _delete(call: Call, host: Host) -> None:
    """A loopback goes with the container."""
    if call.config.type != "loopback":
        from podwire.plugin.delete import delete  # noqa: PLC0415

        delete(call, host)


def _collect(call: Call, host: Host) -> None:
    if call.config.type != "loopback":
        from podwire.plugin.gc import collect  # noqa: PLC0415

        collect(call, host)


def _status(call: Call, host: Host) -> None:
    """STATUS: whoever can answer can serve; an IPAM plug-in is asked as well."""
    if call.config.type != "loopback" and call.config.ipam_type:
        from podwire.ipam import delegate  # noqa: PLC0415

        delegate.run(call, "STATUS")


SILENT: Mapping[str, Callable[[Call, Host], None]] = {
    "DEL": _delete,
    "CHECK": _check,
    "GC": _collect,
    "STATUS": _status,
}
"""The verbs that answer nothing. Each is loaded when it is called: a process for one call waits for its imports."""
