import pytest

from keras_landmarks.errors import InputError
from keras_landmarks.training.schedule import step_schedule


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
