"""This machine: its device, worker processes and signals."""
