"""Doing one run and keeping what it leaves."""
