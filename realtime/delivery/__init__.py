"""The engine: what moves bytes and waits, written once for all transports and for every way of writing an answer."""
