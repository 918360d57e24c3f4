import dataclasses

import pytest

from keras_landmarks.annotations.reading import READERS, read_annotations
from keras_landmarks.settings import ConversionSettings
from keras_landmarks.utils.errors import InputError


@pytest.mark.parametrize(
    ("name", "content", "program"),
    [
        ("a.mat", "", "MATLAB"),
        ("a.slp", "", "SLEAP's project .export its analysis HDF5"),
    ],
)
def test_unsupported_format_is_named(write, name, content, program):
    with pytest.raises(InputError, match=rf"{name}: .*{program}.*COCO.*\.pts"):
        read_annotations(write(content, name), "auto")


def test_every_format_can_be_given():
    fields = {field.name: field for field in dataclasses.fields(ConversionSettings)}
    assert fields["source_format"].metadata["choices"] == ("auto", *READERS)


def test_folder_is_refused_where_a_file_is_needed(tmp_path):
    with pytest.raises(InputError, match="a folder; give the file"):
        read_annotations(tmp_path, "coco")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: "):
        read_annotations(tmp_path / "none.csv", "auto")
