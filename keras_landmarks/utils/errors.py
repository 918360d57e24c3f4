"""The exception for invalid user input."""


class InputError(ValueError):
    """Invalid user input: a file, row or flag. Commands print it without a traceback.

    The message is one line: it names the file, row or flag, says what is wrong with it and what to
    do. The command ends with exit status 1.
    """
