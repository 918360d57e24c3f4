import numpy as np
import pytest

from keras_landmarks.evaluation import bootstrap
from keras_landmarks.evaluation.bootstrap import DRAWS, Resamples

FEW_GROUPS = np.repeat(np.arange(50), 1 + np.arange(50) % 8)


def test_means_of_two_images_are_exact():
    means = Resamples(["a", "b"]).means(np.array([1.0, 4.0]))
    values, counts = np.unique(means, return_counts=True)
    np.testing.assert_array_equal(values, [1, 2.5, 4])
    np.testing.assert_allclose(counts / DRAWS, [0.25, 0.5, 0.25], atol=0.02)


def test_groups_are_drawn_whole():
    """Means of draws: 2 for a twice, (6 + 6) / (3 + 1) for a and b, 6 for b twice."""
    means = Resamples(["a", "b", "a", "a"]).means(np.array([1.0, 6.0, 2.0, 3.0]))
    np.testing.assert_array_equal(np.unique(means), [2, 3, 6])


def test_repeats_within_a_group_add_nothing():
    errors = np.random.default_rng(0).exponential(size=40)
    once = Resamples(np.arange(40)).interval(errors)
    tenfold = Resamples(np.repeat(np.arange(40), 10)).interval(np.repeat(errors, 10))
    assert tenfold == pytest.approx(once)


def test_interval_of_many_images_is_normal():
    errors = np.random.default_rng(0).exponential(size=1000)
    half = 1.96 * errors.std() / np.sqrt(1000)
    low, high = Resamples(np.arange(1000)).interval(errors)
    assert low == pytest.approx(errors.mean() - half, abs=0.05 * half)
    assert high == pytest.approx(errors.mean() + half, abs=0.1 * half)  # skewed to the right


def test_merged_groups_keep_the_width():
    errors = np.random.default_rng(0).exponential(size=20_000)
    low, high = Resamples(np.arange(20_000)).interval(errors)
    assert high - low == pytest.approx(2 * 1.96 * errors.std() / np.sqrt(20_000), rel=0.06)


def test_seed_determines_draws():
    errors = np.random.default_rng(0).exponential(size=100)
    first, again, other = (Resamples(np.arange(100), seed).means(errors) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_images_without_a_value_are_left_out_of_each_mean():
    """Of three images the middle one has no value; in 1 of 27 draws there is no other."""
    resamples, values = Resamples(["a", "b", "c"]), np.array([1.0, np.nan, 4.0])
    means = resamples.means(values)
    np.testing.assert_allclose(np.unique(means), [1, 2, 2.5, 3, 4])
    assert len(means) / DRAWS == pytest.approx(26 / 27, abs=0.01)
    assert resamples.interval(values) == [1, 4]
    assert resamples.percentile_interval(values, 50) == [1, 4]


def test_intervals_of_columns_are_those_of_each():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(30, 4))
    values[::3, 1] = values[:, 2] = values[2:, 3] = np.nan
    resamples = Resamples(np.repeat(np.arange(15), 2))
    columns = resamples.intervals(values)
    assert columns[0] == pytest.approx(resamples.interval(values[:, 0]), rel=1e-5)
    assert columns[1] == pytest.approx(resamples.interval(values[:, 1]), rel=1e-5)
    assert columns[2:] == [None, None]


def test_values_in_one_group_have_no_interval():
    resamples = Resamples(["a", "b", "b"])
    assert resamples.interval(np.array([np.nan, 1, 2])) is None
    assert resamples.percentile_interval(np.array([np.nan, 1, 2]), 50) is None
    assert resamples.interval(np.full(3, np.nan)) is None


def test_comparison_leaves_images_without_a_value_out():
    a = np.array([2.0, np.nan, 3.0, 5.0])
    results = bootstrap.paired(a, a - 1, Resamples([0, 1, 2, 3]))
    assert (results["difference"], results["difference_interval"]) == (-1, [-1, -1])
    assert results["ratio"] == pytest.approx(7 / 10)
    assert results["probability_b_better"] == 1


def test_single_group_is_not_resampled():
    assert bootstrap.resample(["a", "a"]) is None
    assert bootstrap.resample(["a", "b"]).groups == 2


# ── coverage: how often an interval contains the true value ──


@pytest.fixture(scope="module")
def samples():
    """500 sets of lognormal errors of 50 persons' images, correlated within a person."""
    rng = np.random.default_rng(0)
    of_person = rng.normal(0, 0.5, (500, 50))[:, FEW_GROUPS]
    return np.exp(of_person + rng.normal(0, 0.5, of_person.shape))


def coverage(intervals, true):
    low, high = np.transpose(list(intervals))
    return np.mean((low <= true) & (true <= high))


def test_mean_interval_has_nominal_coverage(samples):
    true = np.exp(0.25)  # of a lognormal of variance 0.5
    by_person = Resamples(FEW_GROUPS)
    assert 0.91 < coverage(map(by_person.interval, samples), true) < 0.97
    by_image = Resamples(np.arange(len(FEW_GROUPS)))
    assert coverage(map(by_image.interval, samples), true) < 0.8


def test_median_interval_has_nominal_coverage(samples):
    by_person = Resamples(FEW_GROUPS)
    intervals = (by_person.percentile_interval(errors, 50) for errors in samples)
    assert 0.91 < coverage(intervals, 1) < 0.97


def test_equal_models_seldom_differ(samples):
    by_person = Resamples(FEW_GROUPS)
    pairs = samples.reshape(250, 2, -1)
    real = [bootstrap.paired(a, b, by_person)["real"] for a, b in pairs]
    assert 0.01 < np.mean(real) < 0.1


def test_paired_test_is_more_powerful(samples):
    by_person = Resamples(FEW_GROUPS)
    a, noise = samples[0], 1 + np.random.default_rng(0).normal(0, 0.1, len(FEW_GROUPS))
    b = 0.9 * a * noise
    results = bootstrap.paired(a, b, by_person)
    assert results["real"]
    assert results["probability_b_better"] == 1
    assert by_person.interval(a)[0] < b.mean()


# ── two models ──


def test_constant_difference_has_no_width():
    a = np.array([2.0, 3.0, 5.0])
    results = bootstrap.paired(a, a - 1, Resamples([0, 1, 2]))
    assert results["difference"] == -1
    assert results["difference_interval"] == [-1, -1]
    assert results["probability_b_better"] == 1
    assert results["real"]


def test_constant_ratio_has_no_width():
    a = np.array([2.0, 3.0, 5.0])
    results = bootstrap.paired(a, 1.5 * a, Resamples([0, 1, 2]))
    assert results["ratio"] == 1.5
    assert results["ratio_interval"] == pytest.approx([1.5, 1.5])
    assert results["probability_b_better"] == 0
    assert results["real"]


def test_model_equals_itself():
    a = np.array([2.0, 3.0, 5.0])
    results = bootstrap.paired(a, a, Resamples([0, 1, 2]))
    assert results["difference_interval"] == [0, 0]
    assert results["probability_b_better"] == 0.5
    assert not results["real"]


def test_single_image_difference_is_not_real():
    """The first image is missing in 8 of 27 draws and drawn three times in 1 of 27."""
    results = bootstrap.paired(np.ones(3), np.array([0.5, 1, 1]), Resamples([0, 1, 2]))
    assert results["difference_interval"] == [-0.5, 0]
    assert results["probability_b_better"] == pytest.approx(1 - 8 / 27 / 2, abs=0.01)
    assert not results["real"]


def test_ratio_to_zero_is_none():
    results = bootstrap.paired(np.array([0.0, 1.0]), np.ones(2), Resamples([0, 1]))
    assert results["ratio"] is results["ratio_interval"] is None
