"""The one exception for mistakes that a user can make and mend."""


class InputError(ValueError):
    """A file, row or flag is wrong.

    The message is one line: it names the file, row or flag, says what is wrong with it and what to
    do. Commands print it without a traceback and end with a non-zero exit status.
    """
