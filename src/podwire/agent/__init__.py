"""The agent: a socket, and threads that serve CNI requests on it."""
