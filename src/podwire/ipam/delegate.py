# SPDX-License-Identifier: Apache-2.0
"""IPAM by another plugin: `ipam.type` is run with this call's environment and standard input (section 4)."""

from __future__ import annotations

import os

from podwire.cni.document import Json, folded, parse
from podwire.cni.errors import DELEGATE_FAILED, INVALID_ENVIRONMENT, CniError
from podwire.cni.request import Request
from podwire.cni.result import Result, parse_result
from podwire.record import Record
from podwire.text import one_line, shown

TIMEOUT_SECONDS = {"ADD": 55, "DEL": 15, "CHECK": 15, "GC": 50, "STATUS": 1.5}


class IpamPlugin(Record):
    type: str
    request: Request
    stdin: bytes

    def run(self, verb: str) -> bytes:
        """Run the plugin for `verb`; what it prints. Its error is passed on as CniError.

        Its output goes into files: a child that it leaves behind could keep a pipe open for ever.
        """
        import subprocess  # noqa: PLC0415  9 ms, and most calls have no IPAM plugin

        program = find(self.type, self.request.path)
        environment = {"PATH": os.environ.get("PATH", os.defpath), **self.request.environment, "CNI_COMMAND": verb}
        with memory("stdin", self.stdin) as given, memory("stdout") as out, memory("stderr") as err:
            files = {"stdin": given, "stdout": out, "stderr": err}
            try:
                ended = subprocess.run([program], **files, env=environment, timeout=TIMEOUT_SECONDS[verb], check=False)
            except subprocess.TimeoutExpired:
                raise _failed(f"{program} did not answer {verb} in time: see its own log") from None
            except OSError as refused:
                raise _failed(f"{program} cannot be run: {refused.strerror}") from None
            answer = _content(out)
            if ended.returncode:
                raise _failure(program, verb, ended.returncode, answer, _content(err))
            return answer

    def add(self) -> Result:
        """Run ADD; its result. Raises CniError after a DEL that releases what it reserved."""
        try:
            source = f"the answer of the IPAM plugin {self.type}"
            result = parse_result(parse(self.run("ADD"), source, DELEGATE_FAILED, "see its own log"), source)
            if not result.addresses:
                raise _failed(f"{self.type} gave no address: see its configuration")
            return result
        except CniError:
            self.release()
            raise

    def release(self) -> None:
        """Run DEL after a failed ADD; its own error is ignored, since the failure of ADD is reported."""
        try:
            self.run("DEL")
        except CniError:
            return


def find(name: str, path: str) -> str:
    """The first regular file of that name in CNI_PATH; raises CniError naming both."""
    if not path:
        raise CniError(INVALID_ENVIRONMENT, f"CNI_PATH is empty: the IPAM plugin {shown(name)} cannot be found")
    for folder in path.split(":"):
        candidate = f"{folder}/{name}"
        if folder and os.path.isfile(candidate):
            return candidate
    raise _failed(f"{shown(name)} is in none of CNI_PATH={shown(path)}: install it or change ipam.type")


def _failed(reason: str) -> CniError:
    return CniError(DELEGATE_FAILED, f"the IPAM plugin {reason}")


def memory(name: str, content: bytes = b"") -> Json:
    """A file in memory (memfd_create(2)), rewound to its start."""
    file = open(os.memfd_create(f"podwire-{name}"), "r+b", buffering=0)  # noqa: SIM115
    file.write(content)
    file.seek(0)
    return file


def _content(file: Json) -> bytes:
    file.seek(0)
    return bytes(file.read())


def _failure(program: str, verb: str, status: int, answer: bytes, error_output: bytes) -> CniError:
    try:
        error = folded(parse(answer))
        code, message = error.get("code"), error.get("msg")
        if isinstance(code, int) and not isinstance(code, bool) and isinstance(message, str):
            details = error.get("details")
            return CniError(code, message, details if isinstance(details, str) else "")
    except CniError:
        pass
    output = one_line((answer or error_output).decode(errors="replace"), 200)
    return _failed(f"{program} failed {verb} with status {status}: {output}")
