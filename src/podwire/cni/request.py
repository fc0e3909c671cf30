# SPDX-License-Identifier: Apache-2.0
"""The request: the environment of a call, validated before anything else is done (section 2: Parameters)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from podwire.cni.errors import INVALID_ENVIRONMENT, CniError
from podwire.cni.versions import REQUIRED_VARIABLES, VERBS
from podwire.record import Record
from podwire.text import shown

FIRST_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
LETTERS = FIRST_LETTERS + "_.-"
IFNAME_BYTES = 15


class Request(Record):
    """The environment of a call; `args` are the pairs of CNI_ARGS."""

    verb: str
    container_id: str
    netns: str
    ifname: str
    args: Mapping[str, str]
    path: str
    environment: Mapping[str, str]

    @property
    def pod(self) -> str:
        """`namespace/name` of the Kubernetes pod, or ""."""
        namespace, name = self.args.get("K8S_POD_NAMESPACE", ""), self.args.get("K8S_POD_NAME", "")
        return f"{namespace}/{name}" if namespace and name else ""

    @property
    def namespace_override(self) -> bool:
        """May CNI_NETNS be the plugin's own namespace (as libcni's plugins allow)?"""
        return self.environment.get("CNI_NETNS_OVERRIDE", "").lower() in ("1", "true")


def parse_request(environment: Mapping[str, str]) -> Request:
    """The request in `environment`; raises CniError 4, which names every missing variable."""
    verb = environment.get("CNI_COMMAND", "")
    if verb not in VERBS:
        raise _invalid(f"CNI_COMMAND={shown(verb)} is not a CNI verb: use one of {', '.join(VERBS)}")
    if not all(map(environment.get, REQUIRED_VARIABLES[verb])):
        missing = [name for name in REQUIRED_VARIABLES[verb] if not environment.get(name)]
        raise _invalid(f"{verb} needs {', '.join(missing)}: the runtime must set what is missing")
    request = Request(
        verb,
        environment.get("CNI_CONTAINERID", ""),
        environment.get("CNI_NETNS", ""),
        environment.get("CNI_IFNAME", ""),
        parse_args(environment.get("CNI_ARGS", "")),
        environment.get("CNI_PATH", ""),
        environment,
    )
    if REQUIRED_VARIABLES[verb]:
        if not is_identifier(request.container_id):
            words = "it must begin with a letter or digit and go on with letters, digits, '_', '.' or '-'"
            raise _invalid(f"CNI_CONTAINERID={shown(request.container_id)} is not valid: {words}")
        if reason := why_not_an_interface_name(request.ifname):
            raise _invalid(f"CNI_IFNAME={shown(request.ifname)} is not valid: it {reason}")
    return request


def _invalid(words: str) -> CniError:
    return CniError(INVALID_ENVIRONMENT, words)


def is_identifier(text: str) -> bool:
    """Is it valid as a container ID or a network name (section 2: Parameters)?"""
    return bool(text) and text[0] in FIRST_LETTERS and not text.strip(LETTERS)


@lru_cache(maxsize=64)
def why_not_an_interface_name(name: str) -> str:
    """Why an interface name is not valid (dev_valid_name in the kernel); "" if it is."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "must be UTF-8"
    if not 1 <= size <= IFNAME_BYTES:
        return f"must have 1 to {IFNAME_BYTES} bytes"
    if name in (".", ".."):
        return "must not be '.' or '..'"
    if "/" in name or ":" in name or name.split() != [name]:
        return "must not hold '/', ':' or white space"
    if "%" in name:
        return "must not hold '%', which the kernel takes for a counter"
    return ""


def parse_args(text: str) -> dict[str, str]:
    """CNI_ARGS, `KEY=VALUE;KEY=VALUE`: of equal keys the last one counts; a part without `=` raises CniError 4."""
    pairs = {}
    for part in filter(None, text.split(";")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise _invalid(f"CNI_ARGS holds {shown(part)}, which is no KEY=VALUE: separate pairs by ';'")
        pairs[key] = value
    return pairs
