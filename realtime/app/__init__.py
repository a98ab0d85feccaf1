"""The composition root: the only package that sees everything, and makes one worker of it.

`Worker` is the whole; the other modules put its floors together, each from those below: what carries events
(`engine`), what operators decide (`plane`), and what both are asked by HTTP (`pages`).
"""

from realtime.app.worker import Worker, gateway_id

__all__ = ["Worker", "gateway_id"]
