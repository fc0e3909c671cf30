"""HTTP/1.1 for httpx2, over the standard library: httpx2's own transport loads HTTP/2 and asyncio (3 MiB)."""

from __future__ import annotations

import select
import ssl
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection, IncompleteRead

import httpx2

CHUNK_BYTES = 1 << 16


class HttpTransport(httpx2.BaseTransport):
    """Connections to one server, for one thread at a time; one idle connection is kept for the next request.

    Raises OSError and http.client.HTTPException where the server cannot be reached or breaks the protocol.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._idle: HTTPConnection | None = None

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; the response's body is read when it is iterated."""
        timeout = request.extensions["timeout"]
        connection = self._connection(request.url, timeout["connect"])
        try:
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(timeout["read"])
            path = request.url.raw_path.decode("ascii")
            connection.request(request.method, path, request.read() or None, dict(request.headers))
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        return httpx2.Response(response.status, headers=response.getheaders(), stream=_Body(self, connection, response))

    def _connection(self, url: httpx2.URL, timeout_seconds: float) -> HTTPConnection:
        idle, self._idle = self._idle, None
        if idle is not None:
            if not select.select([idle.sock], [], [], 0)[0]:
                return idle
            idle.close()  # readable without a request: the server has closed it
        if url.scheme == "https":
            return HTTPSConnection(url.host, url.port or 443, timeout=timeout_seconds, context=self._context)
        return HTTPConnection(url.host, url.port or 80, timeout=timeout_seconds)

    def release(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        """Keep the connection if its response was read to the end, else close it."""
        whole = response.isclosed() or response.length == 0
        response.close()
        if whole and connection.sock is not None and self._idle is None:
            self._idle = connection
        else:
            connection.close()

    def close(self) -> None:
        """Close the idle connection."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None


class _Body(httpx2.SyncByteStream):
    """A response's body, as it arrives."""

    def __init__(self, transport: HttpTransport, connection: HTTPConnection, response: HTTPResponse) -> None:
        self._transport = transport
        self._connection = connection
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._response.read1(CHUNK_BYTES):
            yield chunk
        if self._response.length:
            raise IncompleteRead(b"", self._response.length)

    def close(self) -> None:
        self._transport.release(self._connection, self._response)
