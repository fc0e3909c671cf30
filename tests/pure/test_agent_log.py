# SPDX-License-Identifier: Apache-2.0
"""The agent's log: what a line says, that nobody's names can forge one, and that it never holds anybody up."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from podwire.cni.errors import CniError
from podwire.observe.lines import Form
from podwire.observe.log import MAX_QUEUED_RECORDS, AgentLog
from podwire.plugin.dispatch import Answer, refusal

ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c0ffee",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-1",
}
PHASES = [("parse", 0.0001), ("lease", 0.0006), ("lease", 0.0001)]
DONE = Answer(0, b"{}")
REFUSED = refusal(CniError(102, "range 10.244.0.0/30 is full: enlarge it"), b'{"cniVersion": "1.0.0"}')


def line(form: Form, changes: dict[str, str] | None = None, answer: Answer = DONE) -> str:
    stream = io.StringIO()
    AgentLog(stream, form).call({**ENVIRONMENT, **(changes or {})}, answer, 0.0021, 0.0012, PHASES)
    written = stream.getvalue()
    assert written.endswith("\n") and len(written.splitlines()) == 1
    return written


def as_json(*arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line("json", *arguments))
    return found


def test_a_call_tells_its_pod_and_where_its_time_went() -> None:
    assert line("text") == (
        "podwire: ADD container=c0ffee ifname=eth0 pod=default/web-1 status=0 ms=2.10 kernel_ms=1.20 "
        "steps=parse:0.10,lease:0.70\n"
    )
    found = as_json()
    assert found.pop("time").endswith("Z")
    assert found == {
        **{"level": "info", "msg": "ADD", "verb": "ADD", "container": "c0ffee", "ifname": "eth0"},
        **{"pod_namespace": "default", "pod_name": "web-1", "status": 0, "ms": 2.1, "kernel_ms": 1.2},
        "steps": {"parse": 0.1, "lease": 0.7},
    }


def test_a_refusal_tells_its_code_and_words() -> None:
    assert line("text", None, REFUSED).endswith("error='range 10.244.0.0/30 is full: enlarge it'\n")
    found = as_json(None, REFUSED)
    assert (found["level"], found["status"], found["code"]) == ("error", 1, 102)
    assert found["error"] == "range 10.244.0.0/30 is full: enlarge it"


@pytest.mark.parametrize(
    "name", ["x status=9", "x\npodwire: forged", 'x" , "status": 9', "\udcff\x1b[31m", "ß; é" * 900]
)
@pytest.mark.parametrize("variable", ["pod", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_COMMAND"])
def test_names_from_outside_cannot_forge_a_line(name: str, variable: str) -> None:
    changes = {variable: name}
    if variable == "pod":
        changes = {"CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}"}
    text = line("text", changes)
    assert "\x1b" not in text and len(text) < 4000
    if variable != "CNI_COMMAND":
        words = text.replace("'x status=9'", "").replace("'default/x status=9'", "")
        assert words.count(" status=") == 1
    assert as_json(changes)["status"] == 0


def test_what_is_polled_is_only_told_of_when_it_fails() -> None:
    stream = io.StringIO()
    log = AgentLog(stream)
    log.call({"CNI_COMMAND": "STATUS"}, Answer(0, b""), 0.001, 0.0)
    assert stream.getvalue() == ""
    log.call({"CNI_COMMAND": "STATUS"}, REFUSED, 0.001, 0.0)
    assert "STATUS" in stream.getvalue()


def test_the_last_failure_of_each_kind_is_remembered() -> None:
    log = AgentLog(io.StringIO())
    log.call(ENVIRONMENT, REFUSED, 0.001, 0.0)
    log.failed("node", "first")
    log.failed("node", "second", once=True)
    log.failed("node", "second", once=True)
    assert log.failures["node"].words == "second"
    assert log.failures["call"].words == "ADD of container c0ffee: range 10.244.0.0/30 is full: enlarge it"


WRITE = """
import sys
from podwire.observe.log import AgentLog
log = AgentLog()
log.start()
for number in range(int(sys.argv[1])):
    log.note(f"line {number} " + "x" * 200)
print("said all", flush=True)
sys.stdin.read()
for number in range(3):
    log.note(f"last {number}")
log.close()
print("ended", flush=True)
"""


def test_who_does_not_read_the_log_holds_nobody_up_and_learns_what_was_lost() -> None:
    said = MAX_QUEUED_RECORDS + 3000
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(said)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin and process.stdout and process.stderr
    assert process.stdout.readline() == b"said all\n", "a full pipe stops nobody"
    got = b""
    while b"lines were dropped" not in got:
        got += os.read(process.stderr.fileno(), 1 << 16)
    process.stdin.close()
    got += process.stderr.read()
    assert process.stdout.read() == b"ended\n" and process.wait() == 0
    lines = got.decode().splitlines()
    whole = [text for text in lines if " line " in text]
    dropped = [text for text in lines if "lines were dropped: nobody read the log" in text]
    assert len(whole) + sum(int(entry.split()[1]) for entry in dropped) == said
    assert len(whole) >= MAX_QUEUED_RECORDS and [text.split()[1:] for text in lines[-3:]] == [
        ["last", str(n)] for n in range(3)
    ]


def test_a_log_that_nobody_ever_reads_does_not_keep_the_process_from_ending() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, "3000"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout and process.stderr
    assert process.stdout.read() == b"said all\nended\n"
    assert process.wait() == 0
    process.stderr.close()


def test_a_log_whose_reader_is_gone_stops_nobody() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, "3000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin and process.stdout and process.stderr
    process.stderr.close()
    process.stdin.close()
    assert process.stdout.read() == b"said all\nended\n" and process.wait() == 0
    process.stdout.close()


def test_a_line_that_cannot_be_made_does_not_end_the_log() -> None:
    stream = io.StringIO()
    log = AgentLog(stream)
    log.start()
    log.call({**ENVIRONMENT, "CNI_COMMAND": "DEL"}, DONE, 0.001, 0.0, [("step", "no number")])  # type: ignore[list-item]
    log.note("goes on")
    log.close()
    assert "a line could not be written" in stream.getvalue() and "goes on" in stream.getvalue()
