import io
import itertools
import sys
import time

import pytest

from keras_landmarks.utils.progress import (
    close_bars,
    format_duration,
    join_fitting,
    progress,
    terminal_width,
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_items_pass_through(capsys):
    assert list(progress(iter("abc"), "reading", "letters")) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("total", "says"), [(None, "1,200 rows"), (5000, "1,200 of 5,000 rows")])
def test_log_gets_one_line_at_the_end(capsys, total, says):
    list(progress(range(1200), "reading", "rows", total))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"reading: {says}, ")


def test_long_job_logs_every_ten_seconds(capsys, monkeypatch):
    clock = itertools.count(step=6)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    list(progress(range(6), "reading", "rows"))
    lines = capsys.readouterr().err.splitlines()
    done = [int(line.removeprefix("reading: ").partition(" ")[0]) for line in lines]
    assert done == [2, 4, 6, 6]


@pytest.mark.parametrize(
    ("seconds", "says"), [(0.5, "3 rows, 6.0/s"), (12, "3 rows, 0.2/s"), (0.001, "3 rows, 3,000/s")]
)
def test_low_rates_have_a_decimal(capsys, monkeypatch, seconds, says):
    now = iter([0, 0, 0, 0, seconds])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    list(progress(range(3), "reading", "rows"))
    assert capsys.readouterr().err == f"reading: {says}\n"


def test_early_stop_is_logged(capsys):
    items = progress(itertools.count(), "reading", "rows")
    assert list(itertools.islice(items, 5)) == [0, 1, 2, 3, 4]
    items.close()
    assert capsys.readouterr().err.startswith("reading: 5 rows")


def test_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress(range(3), "reading", "rows", total=3)) == [0, 1, 2]
    assert "reading: 100%" in sys.stderr.getvalue()


def test_closed_bar_ends_its_line(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    items = progress(range(3), "reading", "rows", total=3)
    next(items)
    close_bars()
    assert sys.stderr.getvalue().endswith("\n")


def test_default_width_without_a_terminal():
    assert terminal_width() == 80


@pytest.mark.parametrize(("width", "line"), [(0, ""), (3, ""), (4, "loss"), (9, "loss, mse")])
def test_texts_that_do_not_fit_are_left_out(width, line):
    assert join_fitting(["loss", "mse", "pace"], width) == line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (190, "3 min"), (7900, "2 h 12 min")]
)
def test_durations_are_readable(seconds, text):
    assert format_duration(seconds) == text
