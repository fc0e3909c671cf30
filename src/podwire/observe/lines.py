# SPDX-License-Identifier: Apache-2.0
"""The lines of the agent's log: text for people, or one JSON object each for machines."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from podwire.cni.errors import CniError
from podwire.cni.request import parse_args
from podwire.plugin.dispatch import Answer
from podwire.record import Record
from podwire.text import one_line, shown

Form = Literal["text", "json"]
PLAIN_WORD = re.compile(r"[\w.:/@%+-]+", re.ASCII)
POD_LETTERS = 300
LINE_BYTES = 2000


class AnsweredCall(Record):
    """A CNI call and its answer: `took` and, within it, `kernel` in seconds; `phases` are (name, seconds) in order."""

    environment: Mapping[str, str]
    answer: Answer
    took: float
    kernel: float
    phases: Sequence[tuple[str, float]]

    def pod(self) -> tuple[str, str]:
        """The Kubernetes pod's namespace and name as CNI_ARGS has them, made safe to print; empty where absent."""
        try:
            args = parse_args(self.environment.get("CNI_ARGS", ""))
        except CniError:
            return "", ""
        names = args.get("K8S_POD_NAMESPACE", ""), args.get("K8S_POD_NAME", "")
        return shown(names[0], POD_LETTERS), shown(names[1], POD_LETTERS)

    def phase_milliseconds(self) -> dict[str, float]:
        """The time of each phase; a phase that came twice is summed up."""
        found: dict[str, float] = {}
        for phase, seconds in self.phases:
            found[phase] = found.get(phase, 0.0) + seconds
        return {phase: round(seconds * 1000, 3) for phase, seconds in found.items()}


def error(answer: Answer) -> tuple[int, str]:
    """The code and the message of an error answer."""
    try:
        body = msgspec.json.decode(answer.body)
        return int(body["code"]), str(body["msg"])
    except (msgspec.DecodeError, LookupError, TypeError, ValueError):
        return 0, "?"


def rfc3339(at: float) -> str:
    """A time (seconds since the epoch) as RFC 3339 has it: UTC, with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class LineFormatter(logging.Formatter):
    """Formats a record as one line with its end. A record about a CNI call has an `AnsweredCall` in `call`."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self._line = _json_line if form == "json" else _text_line

    def format(self, record: logging.LogRecord) -> str:
        """The line; an internal error in making it must not end the thread that writes all others."""
        try:
            return self._line(record, getattr(record, "call", None))
        except Exception as bug:  # noqa: BLE001  see above
            words = f"a line could not be written ({type(bug).__name__}: {bug}): please report it"
            return self._line(logging.LogRecord("podwire", logging.ERROR, "", 0, words, None, None), None)


def _text_line(record: logging.LogRecord, call: AnsweredCall | None) -> str:
    words = str(record.msg)
    return f"podwire: {' '.join([words, *_call_words(call)]) if call else one_line(words, LINE_BYTES)}\n"


def _call_words(call: AnsweredCall) -> list[str]:
    container = shown(call.environment.get("CNI_CONTAINERID", ""), 64)
    words = [f"container={_word(container)}", f"ifname={_word(shown(call.environment.get('CNI_IFNAME', '')))}"]
    if any(call.pod()):
        words.append(f"pod={_word('/'.join(call.pod()))}")
    words += [f"status={call.answer.status}", f"ms={call.took * 1000:.2f}", f"kernel_ms={call.kernel * 1000:.2f}"]
    if phases := call.phase_milliseconds():
        words.append("steps=" + ",".join(f"{phase}:{ms:.2f}" for phase, ms in phases.items()))
    if call.answer.status:
        words.append(f"error={error(call.answer)[1]!r}")
    return words


def _word(value: str) -> str:
    """One word of a line, quoted where it could pass for several: pods and runtimes choose their names."""
    return value if PLAIN_WORD.fullmatch(value) else repr(value) if value else "-"


def _json_line(record: logging.LogRecord, call: AnsweredCall | None) -> str:
    found: dict[str, Any] = {
        "time": rfc3339(record.created),
        "level": record.levelname.lower(),
        "msg": one_line(str(record.msg), LINE_BYTES),
    }
    return msgspec.json.encode(found | _call_fields(call) if call else found).decode() + "\n"


def _call_fields(call: AnsweredCall) -> dict[str, Any]:
    environment, (namespace, name) = call.environment, call.pod()
    fields: dict[str, Any] = {
        "verb": shown(environment.get("CNI_COMMAND", "")),
        "container": shown(environment.get("CNI_CONTAINERID", ""), 64),
        "ifname": shown(environment.get("CNI_IFNAME", "")),
    }
    if namespace or name:
        fields |= {"pod_namespace": namespace, "pod_name": name}
    fields["status"] = call.answer.status
    if call.answer.status:
        fields["code"], fields["error"] = error(call.answer)
    return fields | {
        "ms": round(call.took * 1000, 3),
        "kernel_ms": round(call.kernel * 1000, 3),
        "steps": call.phase_milliseconds(),
    }
