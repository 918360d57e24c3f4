import numpy as np
import pytest

from keras_landmarks.training.schedule import parse_epoch_schedule, per_step_schedule
from keras_landmarks.utils.errors import InputError


def test_recipes_rates_by_epoch():
    learning_rate = parse_epoch_schedule("0:1e-2,5:1e-3,12:1e-4,16:1e-5")
    rates = [learning_rate(epoch) for epoch in range(18)]
    assert rates == [1e-2] * 5 + [1e-3] * 7 + [1e-4] * 4 + [1e-5] * 2


@pytest.mark.parametrize(
    "text",
    ["", "1e-2", "0:1e-2;5:1e-3", "1:1e-2", "0:1e-2,0:1e-3", "0:0", "0:nan", "0:-1", "0:inf"],
)
def test_invalid_schedule_is_refused(text):
    with pytest.raises(InputError, match="--learning_rates"):
        parse_epoch_schedule(text)


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_cosine_warms_up_and_ends_at_zero():
    schedule = per_step_schedule("cosine", 1e-2, steps=110, warmup_steps=10)
    expected = [0, 5e-3, 1e-2, 5e-3, 0]
    np.testing.assert_allclose(rates(schedule, [0, 5, 10, 60, 110]), expected, atol=1e-8)


def test_cosine_starts_at_peak_without_warm_up():
    expected = [1e-2, 5e-3, 0]
    schedule = per_step_schedule("cosine", 1e-2, steps=100)
    np.testing.assert_allclose(rates(schedule, [0, 50, 100]), expected, atol=1e-8)


def test_one_cycle_warms_up_for_30_percent():
    schedule = per_step_schedule("one_cycle", 1e-2, steps=100)
    expected = [0, 5e-3, 1e-2, 5e-3, 0]
    np.testing.assert_allclose(rates(schedule, [0, 15, 30, 65, 100]), expected, atol=1e-8)


def test_restart_cycles_double_in_length():
    schedule = per_step_schedule("restarts", 1e-2, steps=70, first_cycle_steps=10)
    expected = [1e-2, 5e-3, 1e-2, 5e-3, 1e-2, 5e-3]
    np.testing.assert_allclose(rates(schedule, [0, 5, 10, 20, 30, 50]), expected, atol=1e-7)
