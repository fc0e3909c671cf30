# SPDX-License-Identifier: Apache-2.0
"""The lab's pure functions: control group hierarchies, mounts, configurations, images, layouts."""

from __future__ import annotations

import io
import json
import tarfile
import tomllib
from pathlib import Path
from typing import Literal

import pytest

from podwire.node.settings_file import load
from podwire_lab import archive, cgroup, containerd, network, root
from podwire_lab.archive import Image, Member
from podwire_lab.cgroup import Hierarchy
from podwire_lab.containerd import Containerd
from podwire_lab.layout import LabSpec, LayoutError, layout

MIXED = """\
24 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 24 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
31 24 0:30 /docker/abc /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
32 24 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
33 24 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
"""
MIXED_OWN = """\
9:name=systemd:/user.slice
4:memory:/docker/abc/mine
2:cpu,cpuacct:/
0::/user.slice
"""
ALONE = "30 24 0:29 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"


def test_a_machine_with_v1_and_v2_uses_its_v1_hierarchies() -> None:
    assert cgroup.hierarchies(MIXED, MIXED_OWN) == [
        Hierarchy(Path("/sys/fs/cgroup/cpu,cpuacct"), "/", 1, "cpu,cpuacct"),
        Hierarchy(Path("/sys/fs/cgroup/memory"), "/mine", 1, "memory"),
        Hierarchy(Path("/sys/fs/cgroup/systemd"), "/user.slice", 1, "name=systemd"),
    ]


def test_groups_are_below_the_callers_own_in_v1_and_below_the_root_in_v2() -> None:
    memory = cgroup.hierarchies(MIXED, MIXED_OWN)[1]
    assert memory.base == Path("/sys/fs/cgroup/memory/mine")
    only = cgroup.hierarchies(ALONE, "0::/user.slice/session.scope\n")
    assert only == [Hierarchy(Path("/sys/fs/cgroup"), "/", 2)]
    assert only[0].base == Path("/sys/fs/cgroup")


def test_a_node_mounts_each_v1_hierarchy_by_its_options_or_the_v2_hierarchy() -> None:
    inside = Path("/stage/sys/fs/cgroup")
    commands = cgroup.mounts(cgroup.hierarchies(MIXED, MIXED_OWN), inside)
    assert ["mount", "-t", "cgroup", "-o", "cpu,cpuacct", "cgroup", f"{inside}/cpu,cpuacct"] in commands
    assert ["mount", "-t", "cgroup", "-o", "none,name=systemd", "cgroup", f"{inside}/systemd"] in commands
    only = cgroup.mounts(cgroup.hierarchies(ALONE, "0::/\n"), inside)
    assert only == [["mount", "-t", "cgroup2", "cgroup2", f"{inside}"]]


def test_only_mounts_with_a_needed_path_are_mounted_in_a_node() -> None:
    mountinfo = MIXED + "40 24 0:50 / /home rw - ext4 /dev/vdb rw\n41 24 0:51 / /srv rw - ext4 /dev/vdc rw\n"
    needed = [Path("/usr/lib/python3"), Path("/home/me/checkout/.venv")]
    assert root.carried_mounts(mountinfo, needed) == ["/home"]


@pytest.mark.parametrize(
    ("version", "cri", "image"),
    [
        (2, "io.containerd.grpc.v1.cri", ("io.containerd.grpc.v1.cri", "sandbox_image")),
        (3, "io.containerd.cri.v1.runtime", ("io.containerd.cri.v1.images", "pinned_images", "sandbox")),
    ],
)
def test_containerds_configuration(version: int, cri: str, image: tuple[str, ...]) -> None:
    config = tomllib.loads(Containerd(Path("/bin"), version).config('an "image"'))
    assert config["version"] == version
    runtime = config["plugins"][cri]
    assert runtime["restrict_oom_score_adj"] is True
    assert runtime["cni"]["conf_dir"] == containerd.CNI_CONF_DIR
    value = config["plugins"]
    for key in image:
        value = value[key]
    assert value == 'an "image"'


def test_an_archive_is_reproducible_and_complete() -> None:
    base = archive.layer([Member("/bin/busybox", b"program", 0o755), Member("bin/ping", target="/bin/busybox")])
    other = archive.layer([Member("usr/sbin/nginx", b"server", 0o755)])
    images = [Image(("a:1",), (base,), ("/bin/sh",)), Image(("b:1",), (base, other), ("nginx",))]
    whole = archive.archive(images)
    assert whole == archive.archive(images)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        names = tar.getnames()
        manifest = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
    assert len(names) == len(set(names)), "a shared layer is in the archive once"
    assert [each["RepoTags"] for each in manifest] == [["a:1"], ["b:1"]]
    assert manifest and all({each["Config"], *each["Layers"]} < set(names) for each in manifest)
    with tarfile.open(fileobj=io.BytesIO(base)) as tar:
        assert tar.getnames() == ["bin", "bin/busybox", "bin/ping"]
        assert tar.getmember("bin/ping").linkname == "/bin/busybox"
        assert tar.getmember("bin/busybox").mode == 0o755
        assert tar.getmember("bin").isdir()


def test_the_default_lab_is_that_of_the_document() -> None:
    three = layout(LabSpec())
    assert [node.name for node in three.nodes] == ["master", "worker-1", "worker-2"]
    assert [node.pod_cidrs[0] for node in three.nodes] == ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]
    pods = [pod.name for node in three.nodes for pod in node.pods]
    assert pods == ["nginx-worker-1", "bash-worker-1", "nginx-worker-2", "bash-worker-2"]
    assert len(three.segments) == 1


def test_a_routed_lab_has_only_worker_2_behind_the_router() -> None:
    three = layout(LabSpec(topology="routed"))
    assert [node.segment.number for node in three.nodes] == [0, 0, 1]
    two = layout(LabSpec(topology="routed", nodes=2))
    assert [node.segment.number for node in two.nodes] == [0, 1]


def test_a_lab_with_one_node_has_its_pods_on_it() -> None:
    assert [pod.name for pod in layout(LabSpec(nodes=1)).nodes[0].pods] == ["nginx-master", "bash-master"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (LabSpec(nodes=9), "1 to 8"),
        (LabSpec(nodes=0), "1 to 8"),
        (LabSpec(nodes=1, topology="routed"), "second node"),
        (LabSpec(topology="routed", tunnel="never"), "tunnel"),
    ],
)
def test_impossible_labs_are_refused(spec: LabSpec, words: str) -> None:
    with pytest.raises(LayoutError, match=words):
        layout(spec)


@pytest.mark.parametrize("family", ["v4", "v6", "dual"])
@pytest.mark.parametrize("topology", ["l2", "routed"])
def test_every_node_gets_a_file_that_the_agent_accepts(
    tmp_path: Path, family: Literal["v4", "v6", "dual"], topology: Literal["l2", "routed"]
) -> None:
    eight = layout(LabSpec(nodes=8, family=family, topology=topology, mode="bridge", tunnel="always"))
    for plan in eight.nodes:
        file = tmp_path / f"{plan.name}.toml"
        file.write_text(network.settings(eight, plan))
        loaded = load(file)
        settings = loaded.settings
        assert (settings.name, settings.mode, settings.tunnel.when) == (plan.name, "bridge", "always")
        assert set(loaded.peers) == {other.name for other in eight.nodes} - {plan.name}
        assert {each.version for each in settings.addresses} == set(eight.families)
