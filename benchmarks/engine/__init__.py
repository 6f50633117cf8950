"""Where and when runs execute: schedule, workers, leases."""
