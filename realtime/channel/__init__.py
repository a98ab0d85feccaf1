"""The ground floor: events, the log in Redis, its recent part in memory, and one client's view of both. No HTTP."""
