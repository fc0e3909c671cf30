"""Netlink: everything that podwire reads from and writes to the kernel's network configuration.

A change is an operation: plain data such as `AddRoute`, which can print the `ip`, `bridge` or `tc` command that it
equals (`operations`, `tc_operations`). `rtnl` and `tc` encode operations as messages, `message` has the codec,
`constants` the kernel's numbers, `socket` sends. `apply` carries out operations in batches and names the command that
the kernel refused. `read` dumps devices, addresses, routes and neighbours.

Beside them: `namespaces` opens sockets in another network namespace, `monitor` receives notifications, `link_deleter`
deletes a device without waiting for the kernel's RCU barrier, `conntrack` deletes flows.

All of it is written for podwire because an ADD takes 3 ms: a library that parses every attribute, or a process for
each command, would take longer than that.
"""
