"""The harness makes every compressed network, builds it for a device, measures it there and remembers."""
