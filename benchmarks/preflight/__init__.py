"""Measurements and checks before runs start: step times, disk space, determinism."""
