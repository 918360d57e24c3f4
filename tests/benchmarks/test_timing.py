import time

import pytest

from keras_landmarks.benchmarks import timing


@pytest.fixture
def clock(monkeypatch):
    """A clock that runs only when a test says so."""

    class Clock:
        now = 0.0

        def advance(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 1), (3.0, 6)])
def test_rate_is_the_mean_without_the_first_call(clock, seconds, calls):
    durations = iter([100.0] + [0.5] * calls)
    rate = timing.calls_per_second(lambda: clock.advance(next(durations)), seconds)
    assert rate == 2
    assert next(durations, None) is None


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 15), (20.0, 17)])
def test_median_call_time_ignores_a_disturbance(clock, seconds, calls):
    durations = iter([100.0, 4.0] + [1.0] * (calls - 1))
    assert timing.median_call_time(lambda: clock.advance(next(durations)), seconds) == 1
    assert next(durations, None) is None
