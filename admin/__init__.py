"""The admin API and the console: the room where an operator looks at the policy, and changes it.

It stands above the service and below ``realtime.app``. The desk is what can be asked and done; the API and the console
are two ways to it, and the door says who may come in.
"""
