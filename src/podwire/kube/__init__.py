"""Kubernetes: this node and its peers as the API server has them, and what this node tells it."""
