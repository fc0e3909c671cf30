"""A real Kubernetes in the lab's nodes: kubeadm, static pods, kubelets, kube-proxy, CoreDNS; podwire as a DaemonSet."""
