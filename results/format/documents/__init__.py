"""The documents of a results folder as records: one dataclass per JSON object, whose fields are its keys."""
