"""The one error of the library, so that a caller can tell a refused request from a fault."""


class TheseusError(ValueError):
    """A request the method cannot serve; the message says what is wrong and what would be right."""
