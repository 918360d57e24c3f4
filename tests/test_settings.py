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
