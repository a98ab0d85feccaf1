"""The admin API and the console: the room where an operator looks at the policy, and changes it.

It stands above the service and below ``realtime.app``, and it is empty so far: it comes with the live policy, whose
revisions, switches and reasons are what there is to administer.
"""
