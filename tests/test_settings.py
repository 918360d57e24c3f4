import dataclasses

import pytest

from keras_landmarks import settings
from keras_landmarks.settings import GROUPS, TrainSettings, names_of

FIELDS = [field for group in GROUPS for field in dataclasses.fields(group)]


def test_every_setting_exists_once():
    names = [field.name for field in FIELDS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_help_is_a_sentence(field):
    assert field.metadata["help"].endswith(".")


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_defaults_keep_the_rules(field):
    rules, default = field.metadata, field.default
    assert default in rules.get("choices", [default])
    if "low" in rules and default is not None:
        assert rules["low"] <= default <= rules.get("high", default)
    if "check" in rules and default is not None:
        rules["check"](default)


def test_replace_finds_the_group():
    changed = TrainSettings().replace(epochs=3, model="tiny")
    assert (changed.schedule.epochs, changed.network.model) == (3, "tiny")
    assert TrainSettings().schedule.epochs == 18


def test_replace_rejects_unknown_names():
    with pytest.raises(TypeError, match="epoch, layers"):
        TrainSettings().replace(epoch=3, layers=2)


def test_by_name_has_every_setting_of_a_training():
    assert list(TrainSettings().by_name()) == names_of(TrainSettings)


def test_shared_settings_have_one_default():
    for group in (settings.PredictSettings, settings.LandmarksSettings):
        for field in dataclasses.fields(group):
            (original,) = (each for each in FIELDS if each.name == field.name)
            # off in `predict`, on in `landmarks`; of `export`
            if field.name not in ("two_pass", "format"):
                assert field.default == original.default
            assert field.metadata == original.metadata


@pytest.mark.parametrize("names", [settings._MAY_CHANGE, settings.RENAMED.values()])
def test_lists_of_settings_name_settings(names):
    assert set(names) <= {field.name for field in FIELDS}


def test_old_records_get_new_names():
    recorded = {"accumulate": 2, "loss": "mse", "augment_online": ["mirror", "cut_out"]}
    renamed = {"grad_accum_steps": 2, "loss": "mse", "augment_online": ["coarse_dropout", "mirror"]}
    assert settings.with_new_names(recorded) == renamed


@pytest.mark.parametrize(
    ("changes", "left_out"),
    [
        ({"schedule": "steps"}, "warmup_epochs"),
        ({"schedule": "cosine"}, "reset_optimizer_each_epoch"),
        ({"optimizer": "adam"}, "weight_decay"),
        ({}, "rotate_limit"),
        ({}, "epochs"),
        ({}, "workdir"),
    ],
)
def test_settings_without_effect_may_change(changes, left_out):
    values = TrainSettings().replace(**changes).by_name()
    assert left_out not in settings.fixed_settings(values)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, "loss"),
        ({}, "batch_size"),
        ({}, "seed"),
        ({"schedule": "cosine"}, "warmup_epochs"),
        ({"optimizer": "sgd"}, "weight_decay"),
        ({"augment_online": ("affine",)}, "rotate_limit"),
        ({"augment_count": 5}, "scale_limit"),
        ({"average_last_epochs": 2}, "epochs"),
    ],
)
def test_settings_with_effect_are_fixed(changes, kept):
    values = TrainSettings().replace(**changes).by_name()
    assert kept in settings.fixed_settings(values)


def test_normalisers_have_a_kind_and_what_it_is_made_of():
    parse = settings.parse_normaliser
    assert parse("box") == ("box", None)
    assert parse("points:36,45") == ("points", ((36, 36), (45, 45)))
    assert parse("points:36-41,42-47") == ("points", ((36, 41), (42, 47)))
    assert parse("size: head:px ") == ("size", "head:px")
    for text in ("", "box:3", "points:a,b", "points:1,2,3", "size", "BOX"):
        with pytest.raises(ValueError, match=r"points:36,45"):
            parse(text)


def test_thresholds_are_distinct_fractions():
    assert settings.parse_thresholds(["0.08", "0.10", ".1", "1"]) == [0.08, 0.1, 1]
