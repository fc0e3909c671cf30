"""The only room with effects on the kernel: netlink, namespaces, nftables, sysctl."""
