# SPDX-License-Identifier: Apache-2.0
"""A process for one call: the shim runs it if no agent answers. It runs the same code as the agent.

Started as `python -I -S oneshot.py SITE-PACKAGES`: without `site`, Python starts in half the time.
"""

import gc
import os
import sys

BROKEN = (
    '{"cniVersion":"1.1.0","code":11,"msg":"podwire cannot be loaded: its files are damaged or its libraries are'
    ' missing: install podwire again"}'
)


def main() -> int:
    """Answer the call in the environment and on standard input; the exit status."""
    gc.disable()  # the process ends before there is anything to collect
    sys.path += [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), *sys.argv[1:]]
    try:
        from podwire.netlink.host import Host
        from podwire.plugin.context import PluginState
        from podwire.plugin.dispatch import serve, undo
        from podwire.plugin.timings import Timings
    except ImportError as missing:
        write(2, f"podwire: {missing}\n".encode())
        write(1, BROKEN.encode())
        return 1
    environment = {key: value for key, value in os.environ.items() if key.startswith("CNI_")}
    stdin = read_stdin() if environment.get("CNI_COMMAND") else b""
    state = PluginState()
    host = Host(state.namespace)
    answer = serve(environment, stdin, open_netns(environment.get("CNI_NETNS", "")), host, state, Timings())
    if not write(2 if answer.to_stderr else 1, answer.body):
        undo(environment, stdin, answer, host, state)
        return 1
    return answer.status


def read_stdin() -> bytes:
    try:
        with open(0, "rb", closefd=False) as file:
            return file.read()
    except OSError:
        return b""


def open_netns(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC) if path else -1
    except (OSError, ValueError):
        return -1


def write(descriptor: int, body: bytes) -> bool:
    """Write all of it; False if the reader has closed."""
    rest = memoryview(body)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        return False
    return True


if __name__ == "__main__":
    os._exit(main())
