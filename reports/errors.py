"""The one error a reader of results can meet.

A results folder is data from strangers, so everything that is wrong with it ends in a `ReportError`
whose message is one line: what is wrong, where, and what to do. Callers print it and exit with 2.
"""


class ReportError(ValueError):
    """A results folder or a published table cannot be used; the message is one line for a person."""
