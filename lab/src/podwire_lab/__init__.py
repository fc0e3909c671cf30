# SPDX-License-Identifier: Apache-2.0
"""The lab: nodes that are namespaces on one machine, each with its own container runtime, images and pods.

No file lists the labs: they are read from the names of network namespaces, the control groups and the
folders under /run/podwire-lab, so `podwire lab down` also removes a lab whose start was interrupted.
"""
