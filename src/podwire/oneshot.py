"""One call, one process: what the shim runs where no agent answers. The same code as the agent's, begun afresh.

Started as `python -I -S oneshot.py SITE-PACKAGES`: without `site`, Python is up in half the time, so the
folders of the package and its libraries are added here.
"""

import os
import sys


def main() -> int:
    """Answer the call in the environment and on standard input; the exit status."""
    sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), *sys.argv[1:]]  # noqa: PTH100, PTH120
    sys.modules.setdefault("typing_extensions", None)  # type: ignore[arg-type]  # msgspec would load it, and inspect
    from podwire.kernel.host import Host, Shared
    from podwire.verbs.dispatch import serve
    from podwire.verbs.network import Networks

    environment = {key: value for key, value in os.environ.items() if key.startswith("CNI_")}
    stdin = b""
    if environment.get("CNI_COMMAND"):
        try:
            with open(0, "rb", closefd=False) as file:
                stdin = file.read()
        except OSError:
            stdin = b""
    netns = -1
    if environment.get("CNI_NETNS"):
        try:
            netns = os.open(environment["CNI_NETNS"], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError):
            netns = -1
    answer = serve(environment, stdin, netns, Host(Shared()), Networks())
    out = 2 if answer.to_stderr else 1
    body = memoryview(answer.body)
    while body:
        body = body[os.write(out, body) :]
    return answer.status


if __name__ == "__main__":
    os._exit(main())
