"""One node, pure: what the host itself must have so that pods can talk."""
