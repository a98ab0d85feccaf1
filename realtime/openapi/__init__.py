"""The reference: ``/openapi.json``, which describes every endpoint, and ``/docs``, which shows it.

Rules:

* One row of a table for each operation, beside what answers it: `realtime.openapi.service` for what Quart serves,
  `realtime.openapi.hot` for what the dispatcher serves (made from the transports that are installed), and
  `admin.operations`. What isn't served yet has no row: `tests/wire/test_openapi.py` compares the rows with the routes.
* What is sent is described by the models that it is checked with, what is answered by models of its own, and an error
  by its class, which knows its status, code and title.
* quart-schema serves it. It could not describe it: it reads decorators of Quart's handlers, knows no error, and the
  hot endpoints are not Quart's. Its own page has an inline script, which our content security policy forbids.
"""
