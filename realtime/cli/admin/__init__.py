"""The operator's commands: the policy, transports, rollouts, gateways, revocations; all over the admin API.

Rules, beside those of the command line:

* Who only looks is a `viewer`, who changes something an `admin`; without ``--token`` such a token is made.
* What changes the policy first shows what changes, and how many connected clients that moves; on a terminal it asks.
  Where nobody can be asked (a script, a pipe) it acts.
* ``--json`` prints what the API answered.
"""
