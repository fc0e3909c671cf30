# SPDX-License-Identifier: Apache-2.0
"""nftables through libnftables(3): commands as text in one transaction, listings as JSON."""

from __future__ import annotations

import errno
from _thread import allocate_lock

from podwire.cni.document import JsonObject, parse
from podwire.netlink import constants as c
from podwire.netlink import message as nl
from podwire.netlink.socket import Netlink, NetlinkError

NFT_CTX_OUTPUT_JSON = 1 << 4
NFT_CTX_OUTPUT_HANDLE = 1 << 3
# Errors of a kernel that has no such table, or no nftables.
WITHOUT_TABLE = (errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)
LIBRARY = "libnftables.so.1"


class NftablesError(Exception):
    """nftables refused a command, or its library is missing; the message is one line."""


class Nftables:
    """A libnftables context of the calling thread's network namespace (it opens its socket per run)."""

    def __init__(self) -> None:
        import ctypes  # noqa: PLC0415  it loads slowly, and only writing needs it

        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError:
            raise NftablesError(f"{LIBRARY} is missing: install Debian's libnftables1 (nftables)") from None
        self._library.nft_ctx_new.restype = ctypes.c_void_p
        self._library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
        self._library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        self._context = ctypes.c_void_p(self._library.nft_ctx_new(0))
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)
        self._library.nft_ctx_output_set_flags(self._context, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_HANDLE)
        self._lock = allocate_lock()

    def run(self, commands: str) -> str:
        """Run nft(8) commands as one transaction; returns what they print. Raises NftablesError."""
        with self._lock:
            failed = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
            out: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
            errors: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if failed:
            lines = [line.strip() for line in errors.decode(errors="replace").splitlines() if line.strip()]
            message = lines[0].removeprefix("Error: ") if lines else "nftables refused the commands without a message"
            raise NftablesError(message)
        return out.decode(errors="replace")

    def list(self, what: str) -> list[JsonObject]:
        """The objects of `nft -j list <what>`, without the metainfo. Raises NftablesError."""
        answer = self.run(f"list {what}")
        objects: list[JsonObject] = parse(answer.encode(), "nft")["nftables"] if answer.strip() else []
        return [entry for entry in objects if "metainfo" not in entry]


def generation(socket: Netlink) -> int:
    """The ruleset's generation, which every change increases (NFT_MSG_GETGEN). Raises NetlinkError."""
    request = nl.message(c.NFNL_SUBSYS_NFTABLES << 8 | c.NFT_MSG_GETGEN, 0, nl.NFGENMSG.pack(0, 0, 0))
    values = nl.attributes(socket.get(request)[0][1], 4)
    return int.from_bytes(values[c.NFTA_GEN_ID], "big")


def table_exists(socket: Netlink, name: str) -> bool:
    """Does the table exist (NFT_MSG_GETTABLE)? Raises NetlinkError.

    nft list table inet NAME
    """
    body = nl.NFGENMSG.pack(c.NFPROTO_INET, 0, 0)
    kind = c.NFNL_SUBSYS_NFTABLES << 8 | c.NFT_MSG_GETTABLE
    try:
        return bool(socket.get(nl.message(kind, 0, body, nl.text(c.NFTA_TABLE_NAME, name))))
    except NetlinkError as refused:
        if refused.errno in WITHOUT_TABLE:
            return False
        raise
