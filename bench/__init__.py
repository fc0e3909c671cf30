"""Measures CNI plug-ins as a runtime executes them, side by side: `python -m bench`."""
