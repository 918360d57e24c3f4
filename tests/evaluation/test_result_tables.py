import pandas
import pytest

from keras_landmarks.evaluation.result_tables import metrics_to_dataframe

RESULTS = {
    "mse": 4.0,
    "mse_interval": [3.0, 5.0],
    "nme": 0.02,
    "nme_interval": [0.01, 0.03],
    "mse_percentiles": {"50": 2.0},
    "mse_percentiles_interval": {"50": [1.0, 3.0]},
    "nme_percentiles": {"50": 0.015},
    "regions": {"nose_left": {"mse": 1.5, "nme": 0.005}},
}


def test_dataframe_has_a_row_per_metric():
    table = metrics_to_dataframe(RESULTS)
    assert list(table.index) == ["all points", "50 % of images are below", "nose_left"]
    assert list(table.columns) == ["mse", "mse_low", "mse_high", "nme", "nme_low", "nme_high"]
    assert table.loc["all points"].tolist() == [4.0, 3.0, 5.0, 0.02, 0.01, 0.03]
    assert table.loc["nose_left", ["mse", "nme"]].tolist() == [1.5, 0.005]


def test_dataframe_has_nan_for_unknown_intervals():
    table = metrics_to_dataframe(RESULTS)
    assert pandas.isna(table.loc["nose_left", "mse_low"])
    assert pandas.isna(table.loc["50 % of images are below", "nme_high"])


def test_dataframe_of_requested_points_comes_first():
    requested = {"mse_asked": 9.0, "nme_asked": 0.04, "mse_asked_percentiles": {}}
    table = metrics_to_dataframe(RESULTS | requested)
    assert table.index[0] == "requested points"
    assert table.loc["requested points", "mse"] == pytest.approx(9.0)
