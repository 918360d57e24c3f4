import numpy as np
import pytest

from keras_landmarks.training.schedule import step_schedule, step_wise
from keras_landmarks.utils.errors import InputError


def test_the_recipe_by_epoch():
    learning_rate = step_schedule("0:1e-2,5:1e-3,12:1e-4,16:1e-5")
    rates = [learning_rate(epoch) for epoch in range(18)]
    assert rates == [1e-2] * 5 + [1e-3] * 7 + [1e-4] * 4 + [1e-5] * 2


@pytest.mark.parametrize(
    "text",
    ["", "1e-2", "0:1e-2;5:1e-3", "1:1e-2", "0:1e-2,0:1e-3", "0:0", "0:nan", "0:-1", "0:inf"],
)
def test_what_is_no_schedule_is_refused_by_flag(text):
    with pytest.raises(InputError, match="--learning_rates"):
        step_schedule(text)


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_cosine_warms_up_in_a_line_and_ends_at_nothing():
    schedule = step_wise("cosine", 1e-2, steps=110, warmup_steps=10)
    expected = [0, 5e-3, 1e-2, 5e-3, 0]
    np.testing.assert_allclose(rates(schedule, [0, 5, 10, 60, 110]), expected, atol=1e-8)


def test_cosine_without_a_warm_up_begins_at_its_peak():
    expected = [1e-2, 5e-3, 0]
    schedule = step_wise("cosine", 1e-2, steps=100)
    np.testing.assert_allclose(rates(schedule, [0, 50, 100]), expected, atol=1e-8)


def test_one_cycle_warms_up_for_a_third_of_the_run():
    schedule = step_wise("one_cycle", 1e-2, steps=100)
    expected = [0, 5e-3, 1e-2, 5e-3, 0]
    np.testing.assert_allclose(rates(schedule, [0, 15, 30, 65, 100]), expected, atol=1e-8)


def test_restarts_begin_anew_and_each_takes_twice_as_long():
    schedule = step_wise("restarts", 1e-2, steps=70, first_cycle_steps=10)
    expected = [1e-2, 5e-3, 1e-2, 5e-3, 1e-2, 5e-3]
    np.testing.assert_allclose(rates(schedule, [0, 5, 10, 20, 30, 50]), expected, atol=1e-7)
