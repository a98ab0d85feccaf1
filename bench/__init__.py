"""What the service costs, measured: ``make bench``. Each figure with a peer's beside it, from the same run."""
