"""Results: what was measured, kept with its provenance, and the statistics over it. Imports nothing of ours."""
