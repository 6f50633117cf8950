"""Finding, checking and loading encoders and predecessors."""
