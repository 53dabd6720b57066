"""Programs that run an artifact on a device and report one JSON document."""
