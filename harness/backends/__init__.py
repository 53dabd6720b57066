"""Backends: a file exports `BACKEND` (host side) and `load` (device side); see `harness/backend.py` for the shape."""
