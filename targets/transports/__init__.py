"""Transports: a file exports `connect(target)`, a context manager that yields a Session."""
