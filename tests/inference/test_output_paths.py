import os
import random
import unicodedata

import pytest

from keras_landmarks.inference.output_paths import assign_output_names


def picture(name):
    return [name if name.lower().endswith((".jpg", ".png")) else f"{name}.jpg"]


def tables(name):
    return [f"{name}.csv", name if name.endswith(".mp4") else f"{name}.mp4"]


def test_distinct_names_are_kept():
    names = ["b.jpg", "a.jpg", "c", "inner/a.jpg", "d.PNG"]
    assert assign_output_names(names, picture) == {name: name for name in names}


@pytest.mark.parametrize(
    ("names", "numbered"),
    [
        (["a", "a.jpg"], {"a": "a-2"}),
        (["a.jpg", "a.JPG", "A.jpg"], {"a.JPG": "a-2.JPG", "a.jpg": "a-3.jpg"}),
        (["a", "a.jpg", "a-2.jpg"], {"a": "a-3"}),
        (["b/a", "b/a.jpg", "c/a.jpg"], {"b/a": "b/a-2"}),
        (["B/a.jpg", "b/a.jpg"], {"b/a.jpg": "b/a-2.jpg"}),
        # Composed and decomposed letters; a file in the place of a folder.
        (["\u00e4.jpg", "a\u0308.jpg"], {"\u00e4.jpg": "\u00e4-2.jpg"}),
        (["a", "a.jpg/b.jpg"], {"a": "a-2"}),
    ],
)
def test_conflicting_name_gets_a_number(names, numbered):
    expected = {name: name for name in names} | numbered
    assert assign_output_names(names, picture) == expected
    assert assign_output_names(names[::-1], picture) == expected


def test_all_outputs_of_an_input_share_a_name():
    names = ["a.avi", "a.avi.mp4", "b.mp4"]
    assert assign_output_names(names, tables) == {
        "a.avi.mp4": "a.avi.mp4",
        "b.mp4": "b.mp4",
        "a.avi": "a-2.avi",
    }


@pytest.mark.parametrize("name", ["x" * 250, "ä" * 125 + ".jpg", "x." + "j" * 250, "." + "x" * 254])
def test_long_name_is_cut(name, tmp_path):
    names = [f"inner/{name}", f"inner/{name[:-1]}"]
    assigned = assign_output_names(names, tables)
    written = [path for output_name in assigned.values() for path in tables(output_name)]
    assert len(set(written)) == 4
    for path in written:
        assert os.path.dirname(path) == "inner"
        (tmp_path / "inner").mkdir(exist_ok=True)
        (tmp_path / path).touch()


def test_random_names_never_share_a_file():
    draw = random.Random(0)
    parts = ["a", "A", "a.jpg", "a.JPG", "a-2", "a-2.jpg", "a.png", "\u00e4", "a\u0308", "b"]
    for outputs_for in (picture, tables):
        for _ in range(300):
            names = {"/".join(draw.choices(parts, k=draw.randint(1, 3))) for _ in range(12)}
            assigned = assign_output_names(names, outputs_for).values()
            written = [path for output_name in assigned for path in outputs_for(output_name)]
            keys = {unicodedata.normalize("NFC", path).casefold() for path in written}
            assert len(keys) == len(written) == len(names) * len(outputs_for("x"))
            for key in keys:
                assert not any(other.startswith(f"{key}/") for other in keys)
