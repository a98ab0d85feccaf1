"""One suite for transports: what each of them promises, whichever exchange it is written through.

`ways.py` lists the transports, `exchanges.py` the exchanges, `wire.py` has a reader for each media type; everything
else speaks of events, control events and a cursor, and of no transport.
"""
