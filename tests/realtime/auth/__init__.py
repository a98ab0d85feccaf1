"""Credentials: whom they let in as what, and every way in which they don't (PROTOCOL §3); no server needed."""
