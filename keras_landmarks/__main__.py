"""Lists the commands: `python -m keras_landmarks`."""

import ast
from pathlib import Path


def commands() -> dict[str, str]:
    """Returns what each command does, the first line of its docstring, read without running it."""
    texts = {
        path.stem: path.read_text(encoding="utf-8")
        for path in sorted(Path(__file__).parent.glob("[!_]*.py"))
    }
    return {
        name: ast.get_docstring(ast.parse(text)).splitlines()[0]
        for name, text in texts.items()
        if 'if __name__ == "__main__":' in text
    }


if __name__ == "__main__":
    lines = ["Commands, each with its own --help:", ""]
    for name, what in commands().items():
        lines += [f"  python -m keras_landmarks.{name}", f"      {what}"]
    print("\n".join(lines))  # at once, for a reader such as `head` that ends early
