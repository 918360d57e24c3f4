import json

import pytest

from keras_landmarks.benchmark import benchmark, bottleneck, table


@pytest.fixture(scope="module")
def settings(tiny_settings):
    return tiny_settings


def test_json_line_and_table_name_what_was_measured(settings):
    results = json.loads(json.dumps(benchmark(settings, ["read", "parse"], seconds=0.0)))
    assert list(results) == [
        "parse_rows_per_s",
        "read_images_per_s",
        "bottleneck",
        "model",
        "image_size",
        "batch_size",
        "precision",
        "loss",
        "head",
        "optimizer",
        "processor",
        "cores",
        "device",
    ]
    assert results["bottleneck"] == "read"
    assert results["cores"] >= 1
    assert results["device"] == "1 x cpu"
    *rows, last = table(results).splitlines()
    assert [row.split()[0] for row in rows] == ["parse_rows_per_s", "read_images_per_s"]
    assert last == "bottleneck: read"


def test_synthetic_faces_without_data(settings, monkeypatch):
    monkeypatch.setattr("keras_landmarks.benchmark._SYNTHETIC_FACES", 4)
    assert benchmark(settings.replace(data=None), ["parse"], seconds=0.0)["parse_rows_per_s"] > 0


@pytest.mark.parametrize(
    ("read", "augment", "train", "online", "slowest"),
    [
        (900, 300, 500, False, "train"),
        (900, 300, 500, True, "augment"),
        (100, 300, 500, True, "read"),
        (900, 300, None, False, "read"),
        (None, 300, None, False, None),
    ],
)
def test_bottleneck_is_the_slowest_stage_of_a_step(read, augment, train, online, slowest):
    rates = {"read": read, "augment": augment, "train": train, "predict": 1}
    results = {f"{name}_images_per_s": rate for name, rate in rates.items() if rate}
    assert bottleneck(results, online) == slowest
