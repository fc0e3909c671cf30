"""bandwidth."""
