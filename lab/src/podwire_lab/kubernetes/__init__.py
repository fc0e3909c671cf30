# SPDX-License-Identifier: Apache-2.0
"""Builds a real Kubernetes cluster of lab nodes: kubeadm, static pods, kubelets, kube-proxy, CoreDNS, podwire."""
