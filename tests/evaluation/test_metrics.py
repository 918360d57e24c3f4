import numpy as np
import pytest

from keras_landmarks.evaluation import metrics
from keras_landmarks.evaluation.bootstrap import Resamples
from keras_landmarks.layouts import layout

# Two faces of two points, boxes 30 x 120 and 40 x 40: sizes 60 and 40.
TRUE_PX = np.array([[[10, 20], [40, 140]], [[0, 0], [40, 40]]], np.int16)
# Off by (3, 4) and (0, 0), then by (-6, 8) and (0, 2): distances 5, 0 and 10, 2.
PREDICTED_PX = np.array([[[13, 24], [40, 140]], [[-6, 8], [40, 42]]], np.float32)
DISTANCES = np.array([[5, 0], [10, 2]], np.float64)
FACE_SIZES = np.array([60.0, 40.0])


def test_point_distances_by_hand():
    distances = metrics.point_distances(PREDICTED_PX, TRUE_PX)
    assert distances.dtype == np.float64
    np.testing.assert_array_equal(distances, DISTANCES)


def test_point_distances_between_far_int16_points():
    far = np.array([[[-32767, 0]]], np.int16)
    assert metrics.point_distances(far, -far) == 65534


def test_face_sizes_by_hand():
    np.testing.assert_allclose(metrics.face_sizes(TRUE_PX), FACE_SIZES, rtol=1e-15)


def test_face_size_of_far_int16_points():
    far = np.array([[[-32767, -32767], [32767, 32767]]], np.int16)
    assert metrics.face_sizes(far) == pytest.approx(65534)


def test_face_size_of_points_on_a_line_is_zero():
    assert metrics.face_sizes(np.array([[[5, 1], [5, 9]]])) == 0


def test_image_mse_is_the_mean_over_x_and_y():
    # (9 + 16) / 4 and (36 + 64 + 4) / 4
    np.testing.assert_allclose(metrics.image_mse(DISTANCES), [6.25, 26], rtol=1e-15)


def test_image_nme_by_hand():
    np.testing.assert_allclose(
        metrics.image_nme(DISTANCES, FACE_SIZES), [2.5 / 60, 6 / 40], rtol=1e-15
    )


@pytest.mark.parametrize(
    ("nme", "area"),
    [
        ([0.0, 0.0], 1),
        ([0.1], 0),
        ([0.02, 0.08], 0.3),  # half the images from 0.02 to 0.05: 0.5 x 0.03 / 0.05
        ([0.01, 0.03, 0.05, 0.9], 0.3),  # (0.25 x 0.02 + 0.5 x 0.02) / 0.05
    ],
)
def test_area_under_curve_by_hand(nme, area):
    assert metrics.area_under_curve(np.array(nme), threshold=0.05) == pytest.approx(area)


def test_failure_rate_counts_images_over_the_threshold():
    assert metrics.failure_rate(np.array([0.01, 0.07, 0.0701, 1.0])) == 0.5


def test_point_at_the_threshold_is_within():
    # At most 5 of 50 px, then at most 8 of 80.
    distances = np.array([[5.0, 0, 6, 5.01], [8, 9, 9, 9]])
    shares = metrics.image_pck(distances, np.array([50.0, 80.0]), 0.1)
    assert shares.tolist() == [0.5, 0.25]


def test_figures_at_given_thresholds_by_hand():
    """NME 0.04 and 0.09: one face of size 100 off by 4 and 4 px, one of 50 off by 2 and 7."""
    distances, sizes = np.array([[4.0, 4], [2, 7]]), np.array([100.0, 50])
    results = metrics.summary(distances, sizes, thresholds=(0.08, 0.1))
    assert results["auc_at_0.08"] == pytest.approx(0.5 * 0.04 / 0.08)
    assert results["auc_at_0.1"] == pytest.approx((0.06 + 0.01) / 2 / 0.1)
    assert (results["failure_rate_at_0.08"], results["failure_rate_at_0.1"]) == (0.5, 0)
    assert results["pck_at_0.08"] == results["pck_at_0.1"] == 0.75  # 7 of 50 px is 0.14
    assert not [name for name in results if name.endswith("0.07")]


def test_percentiles_by_hand():
    errors = np.arange(101.0)[::-1]
    expected = {"50": 50, "90": 90, "95": 95, "99": 99}
    assert metrics.percentiles(errors) == pytest.approx(expected)


def test_summary_by_hand():
    assert metrics.summary(DISTANCES, FACE_SIZES) == {
        "mse": pytest.approx((6.25 + 26) / 2),
        "nme": pytest.approx((2.5 / 60 + 0.15) / 2),
        "auc_at_0.07": pytest.approx((1 - 2.5 / 60 / 0.07) / 2),
        "failure_rate_at_0.07": 0.5,
        "pck_at_0.07": 0.5,  # distances of at most 4.2 and 2.8: one of two points in each
        "mse_percentiles": pytest.approx(
            {"50": 16.125, "90": 24.025, "95": 25.0125, "99": 25.8025}
        ),
        "nme_percentiles": pytest.approx(
            {q: 1 / 24 + (0.15 - 1 / 24) * float(q) / 100 for q in ("50", "90", "95", "99")}
        ),
    }


def test_summary_by_given_regions():
    results = metrics.summary(DISTANCES, FACE_SIZES, regions={"ear": slice(1, 2)})
    assert results["regions"] == {"ear": {"mse": 1, "nme": 0.025}}  # (0 + 4 / 2) / 2; (2 / 40) / 2


def test_summary_of_971_points_names_regions():
    distances = np.zeros((2, layout.CONTEST_POINTS))
    distances[:, 970] = [2, 4]  # the right pupil
    regions = metrics.summary(distances, np.array([100.0, 200.0]))["regions"]
    assert list(regions) == list(layout.REGIONS)
    assert regions["pupil_right"] == {"mse": 5, "nme": 0.02}  # (4 / 2 + 16 / 2) / 2
    assert regions["pupil_left"] == {"mse": 0, "nme": 0}


def test_requested_points_may_vary_by_image():
    results = metrics.requested_points_summary(
        [np.array([2.0]), np.array([1.0, 3.0])], np.array([10.0, 20.0])
    )
    assert results["mse_asked"] == pytest.approx((4 / 2 + 10 / 4) / 2)
    assert results["nme_asked"] == pytest.approx((0.2 + 0.1) / 2)
    assert results["mse_asked_percentiles"]["50"] == pytest.approx(2.25)


def test_resamples_add_intervals():
    """Draws of two images have the first twice, the second twice, or both."""
    resamples = Resamples(["a.jpg", "b.jpg"])
    results = metrics.summary(DISTANCES, FACE_SIZES, resamples)
    assert results["mse_interval"] == [6.25, 26]
    assert results["nme_interval"] == pytest.approx([2.5 / 60, 0.15])
    requested = metrics.requested_points_summary(list(DISTANCES), FACE_SIZES, resamples)
    assert requested["mse_asked_interval"] == [6.25, 26]
    without = {name: value for name, value in results.items() if "interval" not in name}
    assert without == metrics.summary(DISTANCES, FACE_SIZES)


def test_calibration_by_hand():
    true = np.zeros((2, 2, 2))
    errors = np.array([[[1, 3], [0.5, 8]], [[0, 2], [1, 1]]])
    sigmas = np.array([[2, 4], [1, 1]])
    # Errors over sigma: 0.5, 1.5, 0.125, 2 and 0, 2, 1, 1.
    results = metrics.calibration(errors, true, sigmas)
    assert results["within_1_sigma"] == (2 / 4 + 3 / 4) / 2
    assert results["within_2_sigma"] == 1
    squares = 0.25 + 2.25 + 0.125**2 + 4 + 4 + 1 + 1
    assert results["error_by_sigma"] == pytest.approx(np.sqrt(squares / 8))


def test_metrics_by_point_by_hand():
    results = metrics.by_point(["tip", "base"], DISTANCES, FACE_SIZES, thresholds=[0.1])
    assert results == {
        "tip": {
            "images": 2,
            "mse": (25 / 2 + 100 / 2) / 2,
            "nme": pytest.approx((5 / 60 + 10 / 40) / 2),
            "pck_at_0.1": 0.5,
        },
        "base": {"images": 2, "mse": 1, "nme": pytest.approx(2 / 40 / 2), "pck_at_0.1": 1},
    }


# ── missing points ──

GAP = np.nan
# The second point of the first face is missing.
GAPPED = np.array([[5, GAP], [10, 2]])


def test_distance_from_missing_point_is_nan():
    true = TRUE_PX.astype(np.float32)
    true[0, 1] = GAP
    np.testing.assert_array_equal(metrics.point_distances(PREDICTED_PX, true), GAPPED)


def test_box_is_that_of_the_other_points():
    faces = np.array([[[10, 20], [GAP, GAP], [40, 140]], [[1, 2], [GAP, GAP], [GAP, GAP]]])
    np.testing.assert_allclose(metrics.face_sizes(faces), [60, 0])
    np.testing.assert_array_equal(metrics.box_sides(faces), [[30, 120], [0, 0]])


def test_image_is_scored_by_its_other_points():
    np.testing.assert_allclose(metrics.image_mse(GAPPED), [25 / 2, 26])
    np.testing.assert_allclose(metrics.image_nme(GAPPED, FACE_SIZES), [5 / 60, 6 / 40])
    assert metrics.image_pck(GAPPED, FACE_SIZES, 0.1).tolist() == [1, 0.5]
    assert metrics.image_mse(GAPPED[0]) == 12.5


def test_images_weigh_alike_whatever_they_lack():
    results = metrics.summary(GAPPED, FACE_SIZES, thresholds=[0.1])
    assert results["mse"] == (12.5 + 26) / 2
    assert results["nme"] == pytest.approx((5 / 60 + 6 / 40) / 2)
    assert results["pck_at_0.1"] == 0.75
    assert results["auc_at_0.1"] == pytest.approx((1 - 5 / 6) / 2)
    points = metrics.by_point(["a", "b"], GAPPED, FACE_SIZES)
    assert points["b"]["images"] == 1
    assert points["b"]["mse"] == 2
    assert points["b"]["nme"] == 2 / 40


def test_region_without_points_has_no_figures():
    distances = np.array([[1, GAP], [2, GAP], [3, GAP]])
    regions = {"here": slice(0, 1), "nowhere": slice(1, 2)}
    resamples = Resamples([0, 1, 2])
    results = metrics.summary(distances, np.ones(3), resamples, regions)
    nothing = {"mse": None, "mse_interval": None, "nme": None, "nme_interval": None}
    assert results["regions"]["nowhere"] == nothing
    assert results["mse"] == results["regions"]["here"]["mse"]
    point = metrics.by_point(["here", "nowhere"], distances, np.ones(3), resamples)["nowhere"]
    assert point == {"images": 0, **nothing, "pck_at_0.07": None}


def test_face_without_size_has_no_nme():
    results = metrics.summary(DISTANCES, np.array([60, GAP]), thresholds=[0.1])
    assert results["mse"] == (6.25 + 26) / 2
    assert results["nme"] == pytest.approx(2.5 / 60)
    assert results["nme_percentiles"]["99"] == pytest.approx(2.5 / 60)
    assert results["pck_at_0.1"] == 1
    assert results["failure_rate_at_0.1"] == 0


def test_requested_points_may_all_be_missing():
    requested = [np.array([GAP, GAP]), np.array([1.0, 3.0])]
    results = metrics.requested_points_summary(requested, FACE_SIZES)
    assert results["mse_asked"] == 10 / 4
    assert results["nme_asked"] == 2 / 40
    nothing = metrics.requested_points_summary(requested[:1] * 2, FACE_SIZES, Resamples([0, 1]))
    assert nothing["mse_asked"] is None
    assert set(nothing["nme_asked_percentiles"].values()) == {None}


def test_calibration_leaves_missing_points_out():
    true, sigmas = np.zeros((2, 2, 2)), np.array([[2, 4], [1, 1]])
    true[0, 1] = GAP
    errors = np.array([[[1, 3], [0.5, 8]], [[0, 2], [1, 1]]])
    # Errors over sigma: 0.5, 1.5 and 0, 2, 1, 1.
    results = metrics.calibration(np.where(np.isnan(true), 9, true) + errors, true, sigmas)
    assert results["within_1_sigma"] == (1 / 2 + 3 / 4) / 2
    assert results["within_2_sigma"] == 1
    assert results["error_by_sigma"] == pytest.approx(np.sqrt((2.5 / 2 + 6 / 4) / 2))


def test_points_that_are_always_missing_change_nothing():
    rng = np.random.default_rng(0)
    distances, sizes = rng.gamma(2, 2, (40, 7)), rng.uniform(50, 90, 40)
    gapped = np.insert(distances, [3, 7], GAP, axis=1)
    whole = metrics.summary(distances, sizes, regions={})
    assert metrics.summary(gapped, sizes, regions={}) == {
        name: pytest.approx(value, rel=1e-12) for name, value in whole.items()
    }


def test_without_gaps_the_figures_are_plain_means():
    """To the bit: they are compared with figures of earlier versions."""
    rng = np.random.default_rng(0)
    distances, sizes = rng.gamma(2, 2, (50, 97)), rng.uniform(50, 90, 50)
    squares = np.einsum("...k,...k->...", distances, distances) / (2 * 97)
    nme = distances.mean(axis=-1) / sizes
    results = metrics.summary(distances, sizes, regions={})
    assert results["mse"] == squares.mean()
    assert results["nme"] == nme.mean()
    assert results["auc_at_0.07"] == np.maximum(1 - nme / 0.07, 0).mean()
    assert results["mse_percentiles"] == metrics.percentiles(squares)
