"""Lines of the agent's log: as words for people, as one JSON object for machines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from podwire.cni.errors import CniError
from podwire.cni.request import parse_args
from podwire.plugin.dispatch import Answer
from podwire.text import one_line, shown

Form = Literal["text", "json"]
PLAIN = re.compile(r"[\w.:/@%+-]+", re.ASCII)
POD_LETTERS = 300
LINE_BYTES = 2000


class Call(Struct, frozen=True):
    """A call that was answered: `took` and, of it, `kernel` in seconds; `phases` are its steps (name, seconds)."""

    environment: Mapping[str, str]
    answer: Answer
    took: float
    kernel: float
    phases: Sequence[tuple[str, float]]

    def pod(self) -> tuple[str, str]:
        """The Kubernetes pod's namespace and name; empty where the runtime tells none. They are anybody's words."""
        try:
            found = parse_args(self.environment.get("CNI_ARGS", ""))
        except CniError:
            return "", ""
        names = found.get("K8S_POD_NAMESPACE", ""), found.get("K8S_POD_NAME", "")
        return shown(names[0], POD_LETTERS), shown(names[1], POD_LETTERS)

    def steps(self) -> dict[str, float]:
        """The time of each step in milliseconds; those of a step that came twice are added up."""
        found: dict[str, float] = {}
        for step, seconds in self.phases:
            found[step] = found.get(step, 0.0) + seconds
        return {step: round(seconds * 1000, 3) for step, seconds in found.items()}


def error(answer: Answer) -> tuple[int, str]:
    """The code and the message in a refusal, as the runtime got them."""
    try:
        body = msgspec.json.decode(answer.body)
        return int(body["code"]), str(body["msg"])
    except (msgspec.DecodeError, LookupError, TypeError, ValueError):
        return 0, "?"


class Line(Struct, frozen=True):
    """One line; `at` in seconds since the epoch. `words` are the verb's name where it is about a call."""

    at: float
    level: str
    words: str
    call: Call | None = None


def formatted(line: Line, form: Form) -> str:
    """The line as it is written, with its end."""
    return _json(line) if form == "json" else f"podwire: {_text(line)}\n"


def rfc3339(at: float) -> str:
    """A time as RFC 3339 writes it: UTC, with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(line: Line) -> str:
    call = line.call
    if call is None:
        return one_line(line.words, LINE_BYTES)
    container = shown(call.environment.get("CNI_CONTAINERID", ""), 64)
    words = [line.words, f"container={_word(container)}"]
    words += [f"ifname={_word(shown(call.environment.get('CNI_IFNAME', '')))}"]
    if any(call.pod()):
        words.append(f"pod={_word('/'.join(call.pod()))}")
    words += [f"status={call.answer.status}", f"ms={call.took * 1000:.2f}", f"kernel_ms={call.kernel * 1000:.2f}"]
    if steps := call.steps():
        words.append("steps=" + ",".join(f"{step}:{ms:.2f}" for step, ms in steps.items()))
    if call.answer.status:
        words.append(f"error={error(call.answer)[1]!r}")
    return " ".join(words)


def _word(value: str) -> str:
    """One word of a line, quoted where it could be taken for several: pods and runtimes choose their names."""
    return value if PLAIN.fullmatch(value) else repr(value) if value else "-"


def _json(line: Line) -> str:
    found: dict[str, Any] = {"time": rfc3339(line.at), "level": line.level, "msg": one_line(line.words, LINE_BYTES)}
    if line.call is not None:
        found |= _fields(line.call)
    return msgspec.json.encode(found).decode() + "\n"


def _fields(call: Call) -> dict[str, Any]:
    environment = call.environment
    namespace, name = call.pod()
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
    fields |= {"ms": round(call.took * 1000, 3), "kernel_ms": round(call.kernel * 1000, 3), "steps": call.steps()}
    return fields
