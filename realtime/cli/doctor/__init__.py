"""``gapless doctor``: what would go wrong, each thing with what to do about it.

Each module looks at one thing and yields findings: `machine` (files, the data directory), `store` (Redis or Valkey),
`outside` (the service through its public address), `stream` (does an event pass at once). Nothing is repaired, and
nothing is left behind but one event, to a subject of its own.
"""
