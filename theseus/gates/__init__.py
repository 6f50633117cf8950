"""Gated modules: what they compute, how they come into a model, and the check that they change nothing."""
