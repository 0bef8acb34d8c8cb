"""What a user can cause, said in one line."""


class CharlmError(Exception):
    """Bad input, configuration or state that its user can fix.

    The message is one line: the file, the place in it, what is wrong and what to do. Stages and
    commands print it without a traceback and end with a non-zero exit status.
    """
