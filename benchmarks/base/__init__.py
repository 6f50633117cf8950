"""Light modules that all rooms share: errors, configuration base, identity, per-machine cache."""
