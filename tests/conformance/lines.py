# SPDX-License-Identifier: Apache-2.0
"""The lines of docs/conformance.md: what a CNI plugin must do, the source of each demand, and the tests that show it.

`python -m tests.conformance.lines --write` writes the document; a pure test fails when it is stale.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.marks import MarkedTest, marked_tests

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "conformance.md"
TEST_FOLDERS = (ROOT / "tests" / "conformance", ROOT / "tests" / "namespaces")
LAST_NUMBER = 36


@dataclass(frozen=True)
class Line:
    """One demand. `source`: S the specification, K what libcni's skel does, D podwire's decision."""

    name: str
    what: str
    source: str
    untestable: str = ""


LINES = (
    Line("1", "No CNI_COMMAND: about text with the versions on stderr, nothing on stdout, exit 0", "K"),
    Line("2", "Unknown command: code 4; commands are upper case", "S"),
    Line("3", "Missing variables: one code-4 error that names all of them; empty counts as missing", "K"),
    Line(
        "4", "ADD, CHECK need CONTAINERID, NETNS, IFNAME; DEL needs CONTAINERID, IFNAME; PATH only to delegate", "S, D"
    ),
    Line(
        "5", "CONTAINERID and network name follow their pattern to the last byte (codes 4 and 7), at any length", "S, K"
    ),
    Line("6", "IFNAME: up to 15 bytes, not `.` or `..`, no `/`, `:` or white space (code 4)", "S, K"),
    Line("7", "GC and STATUS come with empty variables, VERSION with `dummy` in them", "K"),
    Line("8", "CNI_NETNS that is the plugin's own: code 8 before anything is changed, unless overridden", "K, D"),
    Line("9", "CNI_ARGS: first `=` splits, unknown keys and a trailing `;` are fine, the last duplicate wins", "S, D"),
    Line("10", "runtimeConfig over `args.cni` over CNI_ARGS over the configuration's own key", "D"),
    Line("11", "Not one JSON object in UTF-8, or a wrong-typed name or version: code 6; no name: code 7", "S, K"),
    Line("12", "Tolerated: duplicate keys (last wins), bad UTF-8 where unread, long numbers, many MiB", "K"),
    Line(
        "13", "cniVersion absent or empty means 0.1.0; unsupported: code 1 with the supported ones in details", "S, K"
    ),
    Line("14", "Unknown keys are ignored", "S"),
    Line(
        "15",
        "VERSION needs only CNI_COMMAND, answers cniVersion and supportedVersions, tolerates invalid input",
        "S, K",
    ),
    Line("16", "IFNAME that exists already: error, the interface untouched", "S"),
    Line(
        "17",
        "ADD prints exactly one document in the configuration's version, which matches the kernel; sandbox unchanged",
        "S",
    ),
    Line(
        "18",
        "prevResult is passed through or extended, never dropped; without a version it has the configuration's",
        "S",
    ),
    Line("19", "A failed ADD is undone, with DEL to a delegated IPAM plugin", "S"),
    Line("20", "One attachment added twice at once: one succeeds", "D"),
    Line("21", "DEL succeeds without output when there is nothing (left) to do, whatever is missing", "S"),
    Line("22", "DEL goes by (network, container ID, ifname), needs no prevResult and touches nothing else", "S, D"),
    Line("23", "DEL works with CNI_NETNS empty", "S, D"),
    Line("24", "CHECK needs prevResult, names what is missing or different, ignores additions", "S"),
    Line(
        "25", "GC reads valid-attachments (null means none); without the key it is an error and removes nothing", "S, D"
    ),
    Line("26", "GC stays within its network, continues after errors, reports them, calls the IPAM plugin too", "S"),
    Line(
        "27",
        "STATUS: no output, or code 50/51; never hangs; a full range is no error; ADD and DEL work at the same time",
        "S, D",
    ),
    Line("28", "Errors are JSON on stdout with a code of the specification, or of podwire from 100", "S"),
    Line(
        "29", "msg is one line under 500 bytes with the cause, the offending value and what to do; same at retry", "D"
    ),
    Line("30", "The message of a DEL failure does not contain the words that containerd takes for success", "D"),
    Line("31", "0.1.0 and 0.2.0: ip4 and ip6 with ip, gateway, routes; no interfaces", "S"),
    Line("32", "ips[].version is mandatory from 0.3.0 to 0.4.0 and absent from 1.0.0 on", "S"),
    Line("33", "1.1.0 adds mtu to interfaces, and mtu, advmss, priority, table, scope to routes", "S"),
    Line("34", "Addresses point at an existing interface named IFNAME in the sandbox; its mac parses", "S, K"),
    Line(
        "35",
        "Delegation: a bare name, the first regular file in CNI_PATH, same environment and input, its error passed on",
        "S",
    ),
    Line("36", "No child keeps stdout or stderr open after the plugin has ended", "K"),
    Line("trap 1", "Keys are read in any case, at every level", "K"),
    Line("trap 2", "A trailing newline is not part of a pattern; IFNAME counts in bytes", "K"),
    Line("trap 3", "NaN, BOM, UTF-16, absurd depth, long numbers, lone surrogates", "K"),
    Line("trap 4", "CIDR and addresses in their one strict spelling", "K"),
    Line(
        "versions",
        "Which command exists since which version: CHECK 0.4.0, GC and STATUS 1.1.0; prevResult in DEL 0.4.0",
        "S",
    ),
    Line(
        "containerd",
        "loopback for every pod, K8S_ arguments in any order, pods at once, a second DEL without netns",
        "K",
    ),
    Line("nerdctl", "DEL with an empty CNI_NETNS before every ADD", "K"),
    Line("multus", "CNI_ARGS twice", "K"),
    Line("cri-o", "CHECK right after ADD, STATUS again and again, GC with null", "K"),
    Line("podman", "Results of 1.0.0 for readers that know no 1.1.0", "K"),
    Line("kubelet", "A retry is a new sandbox with a new ID", "K"),
    Line("deadlines", "The wait for an agent that does not answer is limited", "D"),
    Line("agent", "Agent and one-shot path know each other's attachments; a killed agent loses nothing", "D"),
    Line("keys", "The reference plugins' configuration keys keep their names and meaning", "D"),
    Line("document", "The configuration of the original tutorial works unchanged", "D"),
    Line("reach", "Pods reach each other, the gateway and external addresses, also where FORWARD drops", "D"),
    Line("several", "Several interfaces per container", "S"),
    Line("leases", "No address is leased twice, leaks, or is leased again before all others of its range", "D"),
    Line("fuzz", "For any input the output is conformant, and a refusal changes nothing", "D"),
)


def suite() -> list[MarkedTest]:
    """Every test of the suite; of tests/namespaces only the marked ones."""
    tests = [
        test
        for folder in TEST_FOLDERS
        for path in sorted(folder.glob("test_*.py"))
        for test in marked_tests(path, "line")
    ]
    return [test for test in tests if test.names or test.path.parent == TEST_FOLDERS[0]]


def document() -> str:
    """docs/conformance.md as it should be."""
    tests = suite()
    rows = [
        "# CNI conformance, line by line",
        "",
        "The behaviour of podwire as a CNI plugin, and the tests that show it. Sources: **S** the CNI",
        "specification 1.1.0, **K** the behaviour of libcni's `skel`, the reference plugins and the runtimes,",
        "**D** podwire's own decision where they say nothing or are wrong. The tests execute the plugin's",
        "binary and do not use its code; `tests/conformance/test_reference.py` says how to run them against",
        "another plugin.",
        "",
        "| line | what | source | shown by |",
        "|---|---|---|---|",
    ]
    for line in LINES:
        shown = [f"`{test.path.stem}::{test.name}`" for test in tests if line.name in test.names]
        rows.append(f"| {line.name} | {line.what} | {line.source} | {', '.join(shown) or line.untestable} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv:
        DOCUMENT.write_text(document(), encoding="utf-8")
    else:
        sys.stdout.write(document())
