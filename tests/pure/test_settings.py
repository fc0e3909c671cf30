# SPDX-License-Identifier: Apache-2.0
"""A node's file: what is accepted, and with which line and reason it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwire.node.settings import NodeSettings, Peer, PeerError, SettingsError, SettingsFileError
from podwire.node.settings_file import LoadedFile, load

GOOD = """\
name = "worker-1"
addresses = ["192.168.33.11"]
pod_cidrs = ["10.244.1.0/24"]
cluster_cidrs = ["10.244.0.0/16"]

[tunnel]
when = "auto"
vni = 77

[[peers]]
name = "worker-2"
addresses = ["192.168.33.12"]
pod_cidrs = ["10.244.2.0/24"]

[[peers]]
name = "worker-3"
addresses = ["192.168.33.13"]
pod_cidrs = ["10.244.3.0/24"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "podwire.toml"
    path.write_text(text)
    return path


def content(loaded: LoadedFile) -> object:
    return loaded.settings, loaded.peers


def test_a_good_file_is_read(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, GOOD))
    settings, peers = loaded.settings, loaded.peers
    assert settings.name == "worker-1" and settings.tunnel.vni == 77 and settings.tunnel.port == 4789
    assert list(peers) == ["worker-2", "worker-3"] and len(loaded.tables) == 2
    assert str(peers["worker-2"].pod_cidrs[0]) == "10.244.2.0/24"


def test_peers_that_did_not_change_are_not_parsed_again(tmp_path: Path) -> None:
    first = load(write(tmp_path, GOOD))
    second = load(write(tmp_path, GOOD.replace("10.244.3.0", "10.244.4.0")), first.tables)
    assert second.peers["worker-2"] is first.peers["worker-2"]
    assert second.peers["worker-3"] is not first.peers["worker-3"]


@pytest.mark.parametrize(
    "tail",
    [
        '\n[[peers]]\nname = "worker-4"\naddresses = ["192.168.33.14"]\npod_cidrs = ["10.244.4.0/24"]\n',
        '\n[[ peers ]]\nname = "worker-4"\naddresses = ["192.168.33.14"]\npod_cidrs = ["10.244.4.0/24"]\n',
        '\n[[peers]]\npod_cidrs = ["10.244.4.0/24"]\naddresses = ["192.168.33.14"]\nname = """worker-4"""\n',
        '\n[[peers]]\nname = "worker-4"\naddresses = ["192.168.33.14"]\npod_cidrs = []\n[cni]\nnetwork = "blue"\n',
        "\n# nothing more\n",
    ],
)
def test_a_file_means_the_same_whatever_was_known_before(tmp_path: Path, tail: str) -> None:
    known = load(write(tmp_path, GOOD)).tables
    path = write(tmp_path, GOOD + tail)
    loaded = load(path, known)
    assert content(loaded) == content(load(path)) == content(load(path, loaded.tables))
    path = write(tmp_path, GOOD)
    assert content(load(path, loaded.tables)) == content(load(path))


def test_what_is_wrong_has_its_line_also_when_the_rest_was_known(tmp_path: Path) -> None:
    known = load(write(tmp_path, GOOD)).tables
    twice = GOOD + "\n[[peers]]" + GOOD.rpartition("[[peers]]")[2]
    for text, line in ((twice, 21), (GOOD.replace("192.168.33.13", "192.168.33.12"), 17), (GOOD + "= 1\n", 19)):
        path = write(tmp_path, text)
        with pytest.raises(SettingsFileError, match=f":{line}: "):
            load(path, known)


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ('when = "auto"', 'when = "maybe"', 7, "maybe"),
        ("vni = 77", "vni = 16777216", 8, "16777215"),
        ("vni = 77", 'vni = "77"', 8, "whole number"),
        ('name = "worker-2"', 'name = "worker-1"', 11, "own name"),
        ('name = "worker-3"', 'name = "worker-2"', 16, "peers[0]"),
        ("10.244.3.0/24", "10.244.2.128/25", 18, "overlaps 10.244.2.0/24"),
        ("10.244.3.0/24", "10.244.1.0/25", 18, "overlaps"),
        ("10.244.3.0/24", "10.99.3.0/24", 18, "outside the cluster"),
        ('["10.244.1.0/24"]', '["10.99.1.0/24"]', 3, "outside the cluster"),
        ('["10.244.1.0/24"]', '["10.244.1.5/24"]', 3, "host bits"),
        ('["10.244.1.0/24"]', "[]", 3, "empty"),
        ('"192.168.33.12"', '"worker-2.example"', 12, "not an IP address"),
        ('"192.168.33.12"', '"127.0.0.1"', 12, "cannot be a node's address"),
        ('"192.168.33.12"', '"192.168.33.12", "192.168.33.14"', 12, "two addresses of a family"),
        ('"192.168.33.13"', '"192.168.33.12"', 17, "an address of worker-2 as well"),
        ('"192.168.33.13"', '"192.168.33.11"', 17, "an address of this node"),
        ('name = "worker-3"', 'name = "worker-3"\ncolour = "blue"', 17, "unknown key `colour`"),
        ("[tunnel]", "[tunel]", 6, "unknown key `tunel`"),
        ('addresses = ["192.168.33.11"]\n', "", 1, "missing key `addresses`"),
        ('addresses = ["192.168.33.13"]\n', "", 15, "missing key `addresses`"),
        ('addresses = ["192.168.33.11"]', 'addresses = "192.168.33.11"', 2, "a list"),
        ("vni = 77", "vni = = 77", 8, "not TOML"),
        ('name = "worker-1"', 'name = "Worker 1"', 1, "not a node name"),
        ('name = "worker-1"', "mtu = 500", 1, "1280"),
        ('["10.244.2.0/24"]', '["fd00:10:244:2::/64"]\ntunnel = "never"', 13, "outside the cluster"),
    ],
)
def test_a_bad_file_is_refused_with_line_and_reason(tmp_path: Path, old: str, new: str, line: int, reason: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(SettingsFileError) as refused:
        load(path)
    words = str(refused.value)
    assert words.startswith(f"{path}:{line}: ") and reason in words and "\n" not in words


def test_old_names_of_keys_are_accepted_and_named_as_deprecated(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("pod_cidrs", "pod_ranges").replace("cluster_cidrs", "cluster_ranges"))
    warnings: list[str] = []
    old = load(path, warn=warnings.append)
    assert warnings == [
        f"{path}: the key cluster_ranges is deprecated: its new name is cluster_cidrs",
        f"{path}: the key pod_ranges is deprecated: its new name is pod_cidrs",
    ]
    assert content(old) == content(load(write(tmp_path, GOOD), warn=warnings.append)) and len(warnings) == 2


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ('pod_cidrs = ["10.244.3.0/24"]', 'pod_ranges = ["10.99.3.0/24"]', 18, "outside the cluster"),
        ('pod_cidrs = ["10.244.3.0/24"]', 'pod_cidrs = ["10.244.3.0/24"]\npod_ranges = []', 19, "the old name of"),
    ],
)
def test_a_bad_value_of_an_old_key_has_its_line(tmp_path: Path, old: str, new: str, line: int, reason: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(SettingsFileError) as refused:
        load(path)
    assert str(refused.value).startswith(f"{path}:{line}: ") and reason in str(refused.value)


def test_errors_carry_the_field_and_the_peer() -> None:
    own = NodeSettings.parse(
        name="a", addresses=["192.168.33.11"], pod_cidrs=["10.244.1.0/24"], cluster_cidrs=["10.244.0.0/16"]
    )
    with pytest.raises(PeerError) as refused:
        Peer.parse("b", ["192.168.33.12"], ["10.244.2.1/24"])
    assert (refused.value.peer, refused.value.field) == ("b", "pod_cidrs") and "host bits" in refused.value.message
    wrong = [
        (Peer.parse("a", ["192.168.33.12"], ["10.244.2.0/24"]), "name"),
        (Peer.parse("b", ["192.168.33.11"], ["10.244.2.0/24"]), "addresses"),
        (Peer.parse("b", ["192.168.33.12"], ["10.99.2.0/24"]), "pod_cidrs"),
        (Peer.parse("b", ["192.168.33.12"], ["10.244.1.128/25"]), "pod_cidrs"),
    ]
    for peer, field in wrong:
        for check in (own.check_peer, lambda peer: own.check_peers([peer])):
            with pytest.raises(PeerError) as refused:
                check(peer)
            assert (refused.value.peer, refused.value.field) == (peer.name, field)
    with pytest.raises(SettingsError, match="outside the cluster"):
        NodeSettings.parse(name="a", addresses=["192.168.33.11"], pod_cidrs=["10.1.1.0/24"], cluster_cidrs=[])


def test_a_family_without_address_or_tunnel_is_refused(tmp_path: Path) -> None:
    text = GOOD.replace('["10.244.0.0/16"]', '["10.244.0.0/16", "fd00:10:244::/48"]')
    text = text.replace('["10.244.2.0/24"]', '["fd00:10:244:2::/64"]\ntunnel = "never"')
    with pytest.raises(SettingsFileError, match="IPv6 address of the peer, or a tunnel"):
        load(write(tmp_path, text))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsFileError, match="No such file"):
        load(tmp_path / "nothing.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsFileError, match="UTF-8"):
        load(binary)
