"""One table as different programs write it."""


def dialects(table):
    """Returns variants of a table, by what is special about them."""
    return {
        "commas": table,
        "CRLF": table.replace("\n", "\r\n"),
        "byte-order mark": "\ufeff" + table,
        "no newline at the end": table.rstrip(),
    }
