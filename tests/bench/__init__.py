"""The bench: what judges others must not be wrong unseen."""
