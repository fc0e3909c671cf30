"""hostports."""
