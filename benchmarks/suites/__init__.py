"""Suites: the TOML files, and how they are read and checked."""
