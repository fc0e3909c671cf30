# SPDX-License-Identifier: Apache-2.0
"""What people and machines see of an agent: log, Events, metrics, health and status.

These modules report about all of podwire, but import no later package: what they need of the loop and of the settings'
source is a Protocol beside the code that uses it. Numbers that the kernel has are read for each query; only what leaves
no trace is counted. No reader can delay a CNI call.
"""
