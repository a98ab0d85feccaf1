"""One gateway: the private Valkey if there is no other log, the service on uvicorn, and what it takes to end it all.

Rules:

* The order is port, log, service; then connections are taken, and clients may come once the window is filled.
* One process with one worker; with more, a parent that takes no connections and keeps its workers alive, each with a
  listening socket of its own (``SO_REUSEPORT``): behind one shared socket, long-lived streams pile up on few workers.
* SIGTERM drains: ``/readyz`` is red at once, clients are told and sent away within `server.drain`, then everything
  ends, with status 0. SIGINT, or a second SIGTERM, ends every answer and then everything else at once, with status 0;
  a second SIGINT, by force.
* No process outlives the one that started it, however that one ends.
* Whatever prevents a start is a `StartError`, and then nothing was left running.
"""
