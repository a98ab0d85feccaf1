"""SSE clients of PyPI and npm, run against the real service. What each needs is in docs/clients.md."""
