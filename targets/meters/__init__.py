"""Meters: a file exports `METER`, which opens a window on power channels and leaves a Trace."""
