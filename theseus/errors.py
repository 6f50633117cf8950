"""The library's only error, so that a caller can tell a refused request from a fault of the library."""


class TheseusError(ValueError):
    """A request that the method cannot serve. The message says what is wrong and how to correct it."""
