"""plugin/template."""
