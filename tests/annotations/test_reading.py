import pytest

from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.utils.errors import InputError


@pytest.mark.parametrize(
    ("name", "content", "program"),
    [
        ("a.xml", "<dataset/>", "XML"),
        ("a.mat", "", "MATLAB"),
        ("a.json", '{"shapes": []}', "labelme"),
        ("a.json", '{"a.jpg1": {"filename": "a.jpg", "regions": []}}', "VGG Image Annotator"),
        ("a.json", '[{"annotations": [], "data": {}}]', "Label Studio"),
        ("a.json", '[{"img": "a.jpg", "kp": [{"keypointlabels": ["nose"]}]}]', "Label Studio"),
    ],
)
def test_unsupported_format_is_named(write, name, content, program):
    with pytest.raises(InputError, match=rf"{name}: .*{program}.*COCO.*\.pts"):
        read_annotations(write(content, name), "auto")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: "):
        read_annotations(tmp_path / "none.csv", "auto")
