"""The black-box suite: it executes a CNI plug-in's binary and knows nothing of its code."""
