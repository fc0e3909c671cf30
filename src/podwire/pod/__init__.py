"""One attachment of a pod, pure: its names, its lease, its wiring."""
