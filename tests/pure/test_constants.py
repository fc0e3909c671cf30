# SPDX-License-Identifier: Apache-2.0
"""Each number of the kernel's interface is written down once: in netlink/constants.py."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOME = Path("src/podwire/netlink/constants.py")
FOLDERS = ("src", "lab", "bench", "tests")
PREFIXES = (
    *("AF_", "ARPHRD_", "BPF_", "CLONE_", "CT", "CTA_", "ETH_P_", "ICMP_", "ICMPV6_", "IFA_", "IFF_", "IFLA_"),
    *("IN6_", "IN_", "IPCTNL_", "IPV6_", "IP_", "MSG_", "NDA_", "NETLINK_", "NETNSA_", "NFNLGRP_", "NFNL_"),
    *("NFPROTO_", "NFTA_", "NFTNL_", "NFT_MSG_", "NLA_", "NLMSGERR_", "NLMSG_", "NLM_", "NS_", "NTF_", "NUD_"),
    *("PACKET_", "PR_", "RTAX_", "RTA_", "RTEXT_", "RTMGRP_", "RTM_", "RTNH_", "RTNLGRP_", "RTN_", "RT_"),
    *("SIOC", "SOL_", "SO_", "TCA_", "TC_", "VETH_"),
)
"""How names in the kernel's headers begin."""


def assigned_numbers(source: str) -> Iterator[str]:
    """The module's names with a kernel prefix to which a number is assigned."""
    for statement in ast.parse(source).body:
        if not isinstance(statement, ast.Assign):
            continue
        for target in statement.targets:
            pairs = [(target, statement.value)]
            if isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
                pairs = list(zip(target.elts, statement.value.elts, strict=True))
            for name, value in pairs:
                if isinstance(name, ast.Name) and name.id.startswith(PREFIXES) and _is_number(value):
                    yield name.id


def _is_number(value: ast.expr) -> bool:
    if isinstance(value, ast.BinOp):
        return _is_number(value.left) and _is_number(value.right)
    return isinstance(value, ast.Constant) and isinstance(value.value, int)


def places(root: Path) -> dict[str, list[Path]]:
    """Where each kernel constant is assigned."""
    found: dict[str, list[Path]] = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            for name in assigned_numbers(path.read_text()):
                found.setdefault(name, []).append(path.relative_to(root))
    return found


def test_each_kernel_constant_is_assigned_once_and_in_one_module() -> None:
    found = places(ROOT)
    assert len(found) > 100
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}
    outside = {name: paths for name, paths in found.items() if paths != [HOME] and paths[0].parts[0] != "tests"}
    assert outside == {}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("RTM_NEWLINK = 16", ["RTM_NEWLINK"]),
        ("AF_BRIDGE, OTHER = 7, 8", ["AF_BRIDGE"]),
        ("SO_EXAMPLE = 1 << 3", ["SO_EXAMPLE"]),
        ("IP_WORDS = 'ip'; ROOT = 1", []),
    ],
)
def test_an_assignment_is_found(source: str, names: list[str]) -> None:
    assert list(assigned_numbers(source)) == names
