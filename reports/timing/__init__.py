"""Inference timings: the matrix and its setting in the headline."""
