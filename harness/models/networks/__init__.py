"""Modules of the networks whose shape is more than a chain of layers. Here, not beside the plug-ins: they need torch at import."""
