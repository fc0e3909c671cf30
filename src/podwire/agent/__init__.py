# SPDX-License-Identifier: Apache-2.0
"""The agent: a process that serves CNI calls over a socket and keeps the host in its desired state.

`server.py` answers calls in threads, with the code of `plugin/`; `protocol.py` is what it and the plugin (`shim/`) send
each other. `run.py` puts the parts together and is the life of the process: set up the host, serve, end on SIGTERM.
"""
