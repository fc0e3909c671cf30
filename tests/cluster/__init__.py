# SPDX-License-Identifier: Apache-2.0
"""The agent with Kubernetes, against an API server with fake Nodes: a scripted one, and the real one with etcd."""
