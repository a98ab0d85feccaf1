"""What `gapless demo` adds to the service: a page at `/`, and a producer of real events for it to show.

Nothing of the service imports this package, and `gapless serve` never registers it.
"""
