"""The channel and the service around it: ``channel`` is the log, ``delivery`` the engine, the rest one service."""
