"""The seeded scheduler: the main proof of the promise. Every step is drawn from a seed, and made to its end."""
