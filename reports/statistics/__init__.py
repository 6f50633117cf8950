"""Statistics over runs: cells, paired differences, tests, loyalty. No text, no figures."""
