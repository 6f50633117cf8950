"""Paired inference timing."""
