"""Reports: the page and the paper's tables, rendered from records. Cannot run a benchmark."""
