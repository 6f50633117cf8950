"""The drift gate: results against an accepted baseline."""
