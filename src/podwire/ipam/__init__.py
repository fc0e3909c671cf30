"""Which address comes next: ranges and the order of leases, pure."""
