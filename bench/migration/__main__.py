"""Run it: ``python -m bench.migration``."""

from bench.migration import main

print("\n".join(main()))
