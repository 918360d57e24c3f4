import numpy as np
import pytest

from keras_landmarks.evaluation import bootstrap
from keras_landmarks.evaluation.bootstrap import DRAWS, Resamples

FEW_GROUPS = np.repeat(np.arange(50), 1 + np.arange(50) % 8)


def test_means_of_two_images_are_those_of_all_ways_to_draw_two():
    means = Resamples(["a", "b"]).means(np.array([1.0, 4.0]))
    values, counts = np.unique(means, return_counts=True)
    np.testing.assert_array_equal(values, [1, 2.5, 4])
    np.testing.assert_allclose(counts / DRAWS, [0.25, 0.5, 0.25], atol=0.02)


def test_groups_are_drawn_whole_and_count_by_their_images():
    """a's images sum to 6, b's to 6: a twice 2, both (6 + 6) / (3 + 1), b twice 6."""
    means = Resamples(["a", "b", "a", "a"]).means(np.array([1.0, 6.0, 2.0, 3.0]))
    np.testing.assert_array_equal(np.unique(means), [2, 3, 6])


def test_images_that_are_there_ten_times_in_one_group_tell_no_more():
    errors = np.random.default_rng(0).exponential(size=40)
    once = Resamples(np.arange(40)).interval(errors)
    tenfold = Resamples(np.repeat(np.arange(40), 10)).interval(np.repeat(errors, 10))
    assert tenfold == pytest.approx(once)


def test_the_interval_of_many_images_is_that_of_the_normal_distribution():
    errors = np.random.default_rng(0).exponential(size=1000)
    half = 1.96 * errors.std() / np.sqrt(1000)
    low, high = Resamples(np.arange(1000)).interval(errors)
    assert low == pytest.approx(errors.mean() - half, abs=0.05 * half)
    assert high == pytest.approx(errors.mean() + half, abs=0.1 * half)  # skewed to the right


def test_more_groups_than_are_drawn_apart_give_an_interval_as_wide():
    errors = np.random.default_rng(0).exponential(size=20_000)
    low, high = Resamples(np.arange(20_000)).interval(errors)
    assert high - low == pytest.approx(2 * 1.96 * errors.std() / np.sqrt(20_000), rel=0.06)


def test_the_same_seed_draws_the_same():
    errors = np.random.default_rng(0).exponential(size=100)
    first, again, other = (Resamples(np.arange(100), seed).means(errors) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_single_group_is_not_resampled():
    assert bootstrap.resample(["a", "a"]) is None
    assert bootstrap.resample(["a", "b"]).groups == 2


# ── coverage: how often an interval holds the truth ──


@pytest.fixture(scope="module")
def samples():
    """500 sets of errors of 50 persons' images: lognormal, alike within a person."""
    rng = np.random.default_rng(0)
    of_person = rng.normal(0, 0.5, (500, 50))[:, FEW_GROUPS]
    return np.exp(of_person + rng.normal(0, 0.5, of_person.shape))


def coverage(intervals, true):
    low, high = np.transpose(list(intervals))
    return np.mean((low <= true) & (true <= high))


def test_the_interval_of_the_mean_holds_it_as_often_as_it_says(samples):
    true = np.exp(0.25)  # of a lognormal of variance 0.5
    by_person = Resamples(FEW_GROUPS)
    assert 0.91 < coverage(map(by_person.interval, samples), true) < 0.97
    by_image = Resamples(np.arange(len(FEW_GROUPS)))
    assert coverage(map(by_image.interval, samples), true) < 0.8


def test_the_interval_of_the_median_holds_it_as_often_as_it_says(samples):
    by_person = Resamples(FEW_GROUPS)
    intervals = (by_person.percentile_interval(errors, 50) for errors in samples)
    assert 0.91 < coverage(intervals, 1) < 0.97


def test_equal_models_are_seldom_told_apart(samples):
    by_person = Resamples(FEW_GROUPS)
    pairs = samples.reshape(250, 2, -1)
    real = [bootstrap.paired(a, b, by_person)["real"] for a, b in pairs]
    assert 0.01 < np.mean(real) < 0.1


def test_a_model_a_tenth_better_on_every_image_is_told_apart_where_the_means_are_not(samples):
    by_person = Resamples(FEW_GROUPS)
    a, noise = samples[0], 1 + np.random.default_rng(0).normal(0, 0.1, len(FEW_GROUPS))
    b = 0.9 * a * noise
    figures = bootstrap.paired(a, b, by_person)
    assert figures["real"]
    assert figures["probability_b_better"] == 1
    assert by_person.interval(a)[0] < b.mean()


# ── two models ──


def test_a_constant_difference_has_no_width():
    a = np.array([2.0, 3.0, 5.0])
    figures = bootstrap.paired(a, a - 1, Resamples([0, 1, 2]))
    assert figures["difference"] == -1
    assert figures["difference_interval"] == [-1, -1]
    assert figures["probability_b_better"] == 1
    assert figures["real"]


def test_a_constant_ratio_has_no_width():
    a = np.array([2.0, 3.0, 5.0])
    figures = bootstrap.paired(a, 1.5 * a, Resamples([0, 1, 2]))
    assert figures["ratio"] == 1.5
    assert figures["ratio_interval"] == pytest.approx([1.5, 1.5])
    assert figures["probability_b_better"] == 0
    assert figures["real"]


def test_a_model_and_itself_are_equally_good():
    a = np.array([2.0, 3.0, 5.0])
    figures = bootstrap.paired(a, a, Resamples([0, 1, 2]))
    assert figures["difference_interval"] == [0, 0]
    assert figures["probability_b_better"] == 0.5
    assert not figures["real"]


def test_a_difference_that_one_image_makes_is_not_real():
    """Of three images drawn, none is the first in 8 of 27 draws, and all are in 1 of 27."""
    figures = bootstrap.paired(np.ones(3), np.array([0.5, 1, 1]), Resamples([0, 1, 2]))
    assert figures["difference_interval"] == [-0.5, 0]
    assert figures["probability_b_better"] == pytest.approx(1 - 8 / 27 / 2, abs=0.01)
    assert not figures["real"]


def test_there_is_no_ratio_to_nothing():
    figures = bootstrap.paired(np.array([0.0, 1.0]), np.ones(2), Resamples([0, 1]))
    assert figures["ratio"] is figures["ratio_interval"] is None
