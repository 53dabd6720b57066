"""Targets: what a device is, how it is reached and how it is kept from harm. Knows nothing of neural networks."""
