"""Tasks: their data, metrics and token lengths."""
