"""Rewritings of the graph, one a file: each takes a graph and returns one that means the same. `pipeline.py` has their order."""
