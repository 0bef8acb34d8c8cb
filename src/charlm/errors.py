"""Errors that a user can fix."""


class CharlmError(Exception):
    """Bad input, configuration or state that its user can fix.

    The message is one line: the file, the place in it, what is wrong and how to fix it. Stages and
    commands print it without a traceback and end with a non-zero exit status.
    """
