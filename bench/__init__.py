"""What the service costs, measured: ``make bench``. Each figure with a peer's beside it, from the same run.

A *question* is asked of a *target* (ours or a peer, running on the first core) by a *load* (a C program on the second
core). One asking gives *figures*; the same figures of all rounds are *samples*; a *goal* judges their medians.
"""
