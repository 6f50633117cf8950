"""Bundles: results as one archive that can be sent, checked and imported."""
