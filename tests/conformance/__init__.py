"""The black-box suite: it executes a CNI plugin's binary and knows nothing of its code."""
