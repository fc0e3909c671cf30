"""What the lab computes without touching anything: control groups' trees, file trees, configurations, images."""

from __future__ import annotations

import io
import json
import tarfile
import tomllib
from pathlib import Path

import pytest

from podwire.lab import cgroup, containerd, images, root
from podwire.lab.cgroup import Hierarchy
from podwire.lab.containerd import Containerd
from podwire.lab.network import PodNetwork

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


def test_a_mixed_machine_uses_its_v1_trees() -> None:
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


def test_a_node_sees_each_v1_tree_by_its_options_or_the_one_v2_tree() -> None:
    inside = Path("/stage/sys/fs/cgroup")
    commands = cgroup.mounts(cgroup.hierarchies(MIXED, MIXED_OWN), inside)
    assert ["mount", "-t", "cgroup", "-o", "cpu,cpuacct", "cgroup", f"{inside}/cpu,cpuacct"] in commands
    assert ["mount", "-t", "cgroup", "-o", "none,name=systemd", "cgroup", f"{inside}/systemd"] in commands
    only = cgroup.mounts(cgroup.hierarchies(ALONE, "0::/\n"), inside)
    assert only == [["mount", "-t", "cgroup2", "cgroup2", f"{inside}"]]


def test_only_mounts_that_hold_something_needed_are_carried_into_a_node() -> None:
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


def test_an_image_is_the_same_each_time_and_whole() -> None:
    layer = images.busybox_layer(b"program", ["sh", "ping", "busybox"])
    image = images.Image(("a:1", "b:1"), (layer,), ("/bin/sh",))
    assert images.archive(image) == images.archive(image)
    with tarfile.open(fileobj=io.BytesIO(images.archive(image))) as tar:
        files = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        manifest = json.loads(files["manifest.json"].read())[0]  # type: ignore[union-attr]
        assert manifest["RepoTags"] == ["a:1", "b:1"]
        assert {manifest["Config"], *manifest["Layers"]} < set(files)
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert tar.getmember("bin/ping").linkname == "/bin/busybox"
        assert tar.getmember("bin/busybox").mode == 0o755


def test_a_pod_network_names_the_cluster_of_its_own_families_only() -> None:
    four = PodNetwork("bridge", ("10.244.1.0/24",)).plugin()
    assert (four["network"], four["subnet"]) == ("10.244.0.0/16", "10.244.1.0/24")
    both = PodNetwork("routed", ("10.244.1.0/24", "fd00:10:244:1::/64"))
    assert len(both.plugin()["network"]) == len(both.gateways()) == 2
    assert both.gateways() == ["10.244.1.1", "fd00:10:244:1::1"]
