"""nftables through the maintained engine, libnftables(3): one text, one transaction; JSON out."""

from __future__ import annotations

import errno
from _thread import allocate_lock

from podwire.cni.document import JsonObject, parse
from podwire.netlink import message as nl
from podwire.netlink.constants import (
    NFNL_SUBSYS_NFTABLES,
    NFPROTO_INET,
    NFT_MSG_GETGEN,
    NFT_MSG_GETTABLE,
    NFTA_GEN_ID,
    NFTA_TABLE_NAME,
)
from podwire.netlink.socket import Netlink, NetlinkError

NFT_CTX_OUTPUT_JSON = 1 << 4
NFT_CTX_OUTPUT_HANDLE = 1 << 3
WITHOUT_TABLE = (errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)
"""Refusals of a kernel that has no such table, or no nftables."""

LIBRARY = "libnftables.so.1"


class NftablesError(Exception):
    """nftables refused a text, or its library is missing; the message says which, in one line."""


class Nftables:
    """A libnftables context of the calling thread's network namespace (it opens its socket per run)."""

    def __init__(self) -> None:
        import ctypes  # noqa: PLC0415  only who writes rules waits for it

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
        """Run nft(8) commands as one transaction; what they print. Raises NftablesError."""
        with self._lock:
            failed = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
            out: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
            words: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if failed:
            lines = [line.strip() for line in words.decode(errors="replace").splitlines() if line.strip()]
            raise NftablesError(lines[0].removeprefix("Error: ") if lines else "nftables refused, without a word")
        return out.decode(errors="replace")

    def list(self, what: str) -> list[JsonObject]:
        """`nft -j list <what>`: its objects, without the line about the version. Raises NftablesError."""
        answer = self.run(f"list {what}")
        objects: list[JsonObject] = parse(answer.encode(), "nft")["nftables"] if answer.strip() else []
        return [one for one in objects if "metainfo" not in one]


def generation(socket: Netlink) -> int:
    """The ruleset's generation: it grows with every change by anybody (NFT_MSG_GETGEN). `socket` is netfilter's."""
    ask = nl.message(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, 0, nl.NFGENMSG.pack(0, 0, 0))
    found = nl.attributes(socket.get(ask)[0][1], 4)
    return int.from_bytes(found[NFTA_GEN_ID], "big")


def table_exists(socket: Netlink, name: str) -> bool:
    """Is there a table `inet <name>`? One message (NFT_MSG_GETTABLE). `socket` is netfilter's. Raises NetlinkError."""
    body = nl.NFGENMSG.pack(NFPROTO_INET, 0, 0)
    kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE
    try:
        return bool(socket.get(nl.message(kind, 0, body, nl.text(NFTA_TABLE_NAME, name))))
    except NetlinkError as refused:
        if refused.errno in WITHOUT_TABLE:
            return False
        raise
