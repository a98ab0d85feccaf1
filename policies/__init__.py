"""Which transports a client gets, in which order, and why: a fold of pure steps over what the operator wants."""
