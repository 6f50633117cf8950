"""A user's own data: files read, checked, and converted to what every task looks like."""
