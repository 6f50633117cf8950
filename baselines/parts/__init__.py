"""Code that several methods share: losses, starts, replacing rates."""
