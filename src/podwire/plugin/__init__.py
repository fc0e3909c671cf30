# SPDX-License-Identifier: Apache-2.0
"""The CNI plugin: what each verb does.

`dispatch.serve` answers a call, in the agent and in a process for one call: it parses the environment and the
configuration (`config`), makes an `Invocation` (`context`) and runs the verb, one file each. `network` is what a
configuration means for the host. `template` is the agent's way for a repeated ADD.
"""
