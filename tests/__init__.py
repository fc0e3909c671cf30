"""The tests; a package, so that every layer can import `tests.support`."""
