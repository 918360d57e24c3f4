import io
import itertools
import sys

import pytest

from keras_landmarks.utils import progress as module
from keras_landmarks.utils.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_items_pass_through(capsys):
    assert list(progress(iter("abc"), "reading", "letters")) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("total", "says"), [(None, "1,200 rows"), (5000, "1,200 of 5,000 rows")])
def test_a_log_gets_one_plain_line_at_the_end(capsys, total, says):
    list(progress(range(1200), "reading", "rows", total))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"reading: {says}, ")


def test_a_long_job_tells_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", -1)
    list(progress(range(3), "reading", "rows"))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        f"reading: {done} rows" for done in (1, 2, 3, 3)
    ]


@pytest.mark.parametrize(
    ("seconds", "says"), [(0.5, "3 rows, 6.0/s"), (12, "3 rows, 0.2/s"), (0.001, "3 rows, 3,000/s")]
)
def test_slow_jobs_have_a_decimal(capsys, monkeypatch, seconds, says):
    now = iter([0, 0, 0, 0, seconds])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    list(progress(range(3), "reading", "rows"))
    assert capsys.readouterr().err == f"reading: {says}\n"


def test_a_reader_that_stops_early_is_told_how_far_it_came(capsys):
    items = progress(itertools.count(), "reading", "rows")
    assert list(itertools.islice(items, 5)) == [0, 1, 2, 3, 4]
    items.close()
    assert capsys.readouterr().err.startswith("reading: 5 rows")


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress(range(3), "reading", "rows", total=3)) == [0, 1, 2]
    assert "reading: 100%" in sys.stderr.getvalue()


def test_an_open_bar_is_ended_so_that_an_error_has_its_own_line(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    items = progress(range(3), "reading", "rows", total=3)
    next(items)
    module.end_bars()
    assert sys.stderr.getvalue().endswith("\n")


def test_without_a_terminal_lines_are_as_wide_as_usual():
    assert module.terminal_width() == 80


@pytest.mark.parametrize(("width", "line"), [(0, ""), (3, ""), (4, "loss"), (9, "loss, mse")])
def test_what_does_not_fit_is_left_out_from_the_end(width, line):
    assert module.fitting(["loss", "mse", "pace"], width) == line


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (99, "99 s"), (190, "3 min"), (7900, "2 h 12 min")]
)
def test_times_are_told_in_words(seconds, words):
    assert module.duration(seconds) == words
