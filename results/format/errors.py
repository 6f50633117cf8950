"""Errors that a user can fix: one line says what is wrong, where, and what to do. The exit code is 2."""

from __future__ import annotations


class UserError(ValueError):
    """The base class; the message is the line that the user sees."""


class ReportError(UserError):
    """A results folder, baseline or bundle that cannot be used as it is."""
