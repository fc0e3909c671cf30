"""IPAM by another plug-in: `ipam.type` is run with our environment and standard input (section 4)."""

from __future__ import annotations

import os

from podwire.cni.document import Json, folded, parse
from podwire.cni.errors import DELEGATE_FAILED, INVALID_ENVIRONMENT, CniError
from podwire.cni.result import Result, parse_result
from podwire.plugin.invocation import Call
from podwire.text import one_line, shown

TIMEOUT_SECONDS = {"ADD": 55, "DEL": 15, "CHECK": 15, "GC": 50, "STATUS": 1.5}


def find(name: str, path: str) -> str:
    """The first regular file of that name in CNI_PATH; raises CniError naming both."""
    if not path:
        raise CniError(INVALID_ENVIRONMENT, f"CNI_PATH is empty: the IPAM plug-in {shown(name)} cannot be found")
    for folder in path.split(":"):
        candidate = f"{folder}/{name}"
        if folder and os.path.isfile(candidate):
            return candidate
    raise CniError(
        DELEGATE_FAILED,
        f"the IPAM plug-in {shown(name)} is in none of CNI_PATH={shown(path)}: install it or change ipam.type",
    )


def run(call: Call, verb: str) -> bytes:
    """Run the IPAM plug-in for `verb`; what it prints. Its own error is passed on as CniError.

    Its output goes into files, not pipes: a child that it leaves behind could hold a pipe open for ever.
    """
    import subprocess  # noqa: PLC0415  most calls never need it, and a process for one call waits for its import

    plugin = find(call.config.ipam_type, call.request.path)
    environment = {"PATH": os.environ.get("PATH", os.defpath), **call.request.environment, "CNI_COMMAND": verb}
    with memory("stdin", call.stdin) as given, memory("stdout") as out, memory("stderr") as err:
        try:
            ended = subprocess.run(
                [plugin],
                stdin=given,
                stdout=out,
                stderr=err,
                env=environment,
                timeout=TIMEOUT_SECONDS[verb],
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CniError(
                DELEGATE_FAILED, f"the IPAM plug-in {plugin} did not answer {verb} in time: see its own log"
            ) from None
        except OSError as refused:
            raise CniError(DELEGATE_FAILED, f"the IPAM plug-in {plugin} cannot be run: {refused.strerror}") from None
        answer = _content(out)
        if ended.returncode:
            raise _passed_on(plugin, verb, ended.returncode, answer, _content(err))
        return answer


def memory(name: str, content: bytes = b"") -> Json:
    """A file in memory (memfd_create(2)), rewound to its start."""
    file = open(os.memfd_create(f"podwire-{name}"), "r+b", buffering=0)  # noqa: SIM115
    file.write(content)
    file.seek(0)
    return file


def _content(file: Json) -> bytes:
    file.seek(0)
    content: bytes = file.read()
    return content


def _passed_on(plugin: str, verb: str, status: int, answer: bytes, words: bytes) -> CniError:
    try:
        told = folded(parse(answer))
        code, message = told.get("code"), told.get("msg")
        if isinstance(code, int) and not isinstance(code, bool) and isinstance(message, str):
            details = told.get("details")
            return CniError(code, message, details if isinstance(details, str) else "")
    except CniError:
        pass
    said = one_line((answer or words).decode(errors="replace"), 200)
    return CniError(DELEGATE_FAILED, f"the IPAM plug-in {plugin} failed {verb} with status {status}: {said}")


def addresses(call: Call) -> Result:
    """ADD at the IPAM plug-in: its result; raises CniError, with everything it reserved given back."""
    try:
        answer = run(call, "ADD")
        source = f"the answer of the IPAM plug-in {call.config.ipam_type}"
        found = parse_result(parse(answer, source, DELEGATE_FAILED, "see its own log"), source)
        if not found.addresses:
            raise CniError(
                DELEGATE_FAILED, f"the IPAM plug-in {call.config.ipam_type} gave no address: see its configuration"
            )
        return found
    except CniError:
        give_back(call)
        raise


def give_back(call: Call) -> None:
    """DEL at the IPAM plug-in after a failure of ADD; what it says is of no use to anybody now."""
    try:
        run(call, "DEL")
    except CniError:
        return
