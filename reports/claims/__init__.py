"""The paper's claims and numbers held against the results."""
