"""From a network file to one C program: import, passes over a small typed graph, an interpreter as the oracle, memory planning, emission."""
