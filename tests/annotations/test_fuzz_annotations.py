"""Fuzz tests of the readers of other programs' annotations.

As in test_fuzz, each file is refused in one line, or read as the slow readers in this file read it.
"""

import copy
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz import EDITS, fuzz, refusal, slow_columns, spoil

from keras_landmarks.annotations.face import AnnotatedFace
from keras_landmarks.annotations.reading import read_annotations


def read(path, content, kind):
    """Returns the faces by row; None if the file is refused."""
    path.write_bytes(content)
    found = None
    with refusal():
        annotations = read_annotations(path, kind)
        found = {f.row: f for f in annotations.faces if isinstance(f, AnnotatedFace)}
    return found


def assert_same(faces, expected):
    assert faces.keys() == expected.keys()
    for row, (photo, points) in expected.items():
        assert faces[row].photo == photo
        np.testing.assert_array_equal(faces[row].landmarks, points)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "file"


def number(cell):
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return None if math.isinf(value) else value


def is_usable(points):
    """Whether a face has a point, and none has only one of x and y."""
    missing = np.isnan(np.array(points, float))
    return not missing.all() and bool((missing[:, 0] == missing[:, 1]).all())


def place(cell):
    return math.nan if cell == "" else number(cell)


# ── COCO ──

COCO = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 90, "height": 80},
        {"id": 2, "file_name": "in/b.jpg"},
    ],
    "categories": [
        {"id": 1, "name": "hand", "keypoints": ["wrist"]},
        {"id": 2, "name": "face", "keypoints": ["nose", "chin"]},
    ],
    "annotations": [
        {"id": 5, "image_id": 1, "category_id": 2, "keypoints": [1, 2, 2, 3, 4, 1]},
        {"id": 6, "image_id": 2, "category_id": 1, "keypoints": [9, 9, 2]},
        {"id": 7, "image_id": 2, "category_id": 2, "keypoints": [5, 6, 2, 0, 0, 0]},
    ],
}
VALUES = [None, 0, 1, 2, 7, -1.5, "", "1", "a.jpg", "nan", [], {}, [1, 2, 2], ["nose"], True]


def places(value, path=()):
    """Yields every place in a JSON value as a path of keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*path, key))


def edit(value, share, kind, new):
    """Changes one place in a JSON value: replaces, removes or repeats what is there."""
    paths = list(places(value))
    if not paths:
        return
    *path, key = paths[int(share * len(paths))]
    for step in path:
        value = value[step]
    if kind == "put":
        value[key] = copy.deepcopy(new)
    elif kind == "remove":
        del value[key]
    elif isinstance(value, list):
        value.insert(key, copy.deepcopy(value[key]))


def slow_coco(content):
    """Returns photo and points of each face by row; None if refused. For files as small as COCO."""
    if not isinstance(content, dict):
        return None
    images, annotations = content.get("images"), content.get("annotations")
    categories = content.get("categories") or []
    for each in (images, annotations, categories):
        if not isinstance(each, list) or not all(isinstance(item, dict) for item in each):
            return None
    if not all("id" in image and "file_name" in image for image in images):
        return None
    names = [(str(image["id"]), str(image["file_name"])) for image in images]
    if len({i for i, _ in set(names)}) < len(set(names)) > 0:
        return None
    names = [(i, slow_path(name)) for i, name in set(names)]
    if len({name for _, name in names}) < len(names):
        return None
    if annotations and not any("keypoints" in each for each in annotations):
        return None
    points_of = {
        str(category.get("id")): [str(name) for name in category["keypoints"]]
        for category in categories
        if isinstance(category.get("keypoints"), list)
    }
    kinds = [str(each.get("category_id")) for each in annotations if each.get("keypoints")]
    chosen = max(kinds, key=kinds.count, default="None")
    if chosen == "None" and len(points_of) == 1:
        [chosen] = points_of
    points = points_of.get(chosen)
    flags = [each["keypoints"][2::3] for each in annotations if is_list(each.get("keypoints"))]
    has_visible = any(2 in each for each in flags)
    usable = [kind for kind in points_of if points_of[kind] == points] + [chosen, "None"]
    faces = {}
    for row, each in enumerate(annotations, start=1):
        photo = dict(names).get(str(each.get("image_id")))
        numbers = each.get("keypoints")
        if photo is None or str(each.get("category_id")) not in usable:
            continue
        if not isinstance(numbers, list) or len(numbers) % 3 or not any(numbers[2::3]):
            continue
        triples = [numbers[i : i + 3] for i in range(0, len(numbers), 3)]
        if points and len(triples) != len(points):
            continue
        if any(not v and (x or y) for x, y, v in triples) and not has_visible:
            continue
        face = [(place(x), place(y)) if v else (math.nan, math.nan) for x, y, v in triples]
        if all(None not in pair for pair in face) and is_usable(face):
            faces[row] = photo, face
    return faces


def slow_path(name):
    """Returns the path that a name without a photo stands for."""
    parts = name.replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def is_list(value):
    return isinstance(value, list)


JSON_EDITS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["put", "remove", "repeat"]),
        st.sampled_from(VALUES),
    ),
    min_size=1,
    max_size=4,
)


@fuzz
@given(edits=JSON_EDITS)
def test_spoiled_coco(path, edits):
    content = copy.deepcopy(COCO)
    for change in edits:
        edit(content, *change)
    expected = slow_coco(content)
    faces = read(path, json.dumps(content).encode(), "coco")
    assert (faces is None) == (expected is None)
    if faces is not None:
        assert_same(faces, expected)


@fuzz
@given(edits=EDITS)
def test_spoiled_bytes_of_coco(path, edits):
    content = spoil(json.dumps(COCO).encode(), edits)
    faces = read(path, content, "coco")
    if faces is not None:
        assert_same(faces, slow_coco(json.loads(content)))


# ── annotation tools ──

POINT = {"shape_attributes": {"name": "point", "cx": 1, "cy": 2}, "region_attributes": {"k": "a"}}
BOX = {"shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}}
KEYPOINT = {"x": 1, "y": 2, "width": 0.5, "keypointlabels": ["nose"]}
TOOLS = {
    "labelme": {
        "shapes": [
            {"label": "a", "points": [[1, 2]], "group_id": 1, "shape_type": "point"},
            {"label": "a", "points": [[1, 2], [3, 4]], "group_id": 1, "shape_type": "rectangle"},
        ],
        "imagePath": "a.jpg",
        "imageHeight": 9,
        "imageWidth": 9,
    },
    "via": {
        "_via_img_metadata": {
            "a": {"filename": "a.jpg", "size": -1, "regions": [POINT, POINT, BOX]},
            "b": {"filename": "b.jpg", "size": -1, "regions": {"0": POINT}},
        }
    },
    "label_studio": [
        {
            "annotations": [
                {
                    "result": [
                        {"type": "keypointlabels", "value": KEYPOINT, "original_width": 9},
                        {"type": "rectanglelabels", "value": KEYPOINT | {"height": 4}, "id": "r"},
                        {"type": "relation", "from_id": "k", "to_id": "r"},
                    ],
                    "was_cancelled": False,
                }
            ],
            "data": {"image": "/data/upload/1/01234567-a.jpg"},
        },
        {"image": "b.jpg", "kp": [KEYPOINT]},
    ],
    "ljson": {
        "groups": {
            "g": {
                "landmarks": {"points": [[1, 2], [None, None]]},
                "labels": [{"label": "a", "mask": [0]}, {"label": "b", "mask": [1]}],
            }
        }
    },
}


@pytest.mark.parametrize("tool", TOOLS)
def test_spoiled_json_of_tools(path, tool):
    @fuzz
    @given(edits=JSON_EDITS)
    def check(edits):
        content = copy.deepcopy(TOOLS[tool])
        for change in edits:
            edit(content, *change)
        check_usable(read(path, json.dumps(content).encode(), tool))

    path.with_suffix(".jpg").touch()
    check()


CVAT = b"""<annotations><meta><label><name>nose</name><parent>face</parent></label></meta>
<image id="0" name="a.jpg" width="90" height="80"><skeleton label="face">
<points label="nose" outside="0" points="1.5,2"/></skeleton></image>
<image id="1" name="b.jpg"><points label="nose" points="1,2"/></image></annotations>"""
DEEPLABCUT = b"""scorer,me,me,me
individuals,a,a,a
bodyparts,nose,nose,nose
coords,x,y,likelihood
v/1.png,1,2,0.5
v/2.png,,,
"""


@pytest.mark.parametrize(("tool", "content"), [("cvat", CVAT), ("deeplabcut", DEEPLABCUT)])
def test_spoiled_bytes_of_tools(path, tool, content):
    @fuzz
    @given(edits=EDITS)
    def check(edits):
        check_usable(read(path, spoil(content, edits), tool))

    check()


def check_usable(faces):
    for face in (faces or {}).values():
        assert is_usable(face.landmarks)
        assert not np.isinf(face.landmarks).any()


# ── lists ──

LISTS = [
    b"a.jpg 1 2 3 4\nin/b.jpg 5 6 7 8\nmy c.jpg 9 10 11 12\n",
    b"1 2 3 4 a.jpg\n5.5 6 7 8 in/b.jpg\n",
    b"2\nnose_x nose_y chin_x chin_y\n000001.jpg  69 109 70 110\n",
]


def slow_list(line):
    """Returns photo and points of a line; None if it has none."""
    words = line.split()
    if len(words) < 3:
        words = line.split(",")
    words = [word.strip(" ,\r\n\t\v\f") for word in words]
    words = [word for word in words if word]
    kinds = "".join("n" if is_float(word) else "p" if has_ending(word) else "w" for word in words)
    if len(words) < 3 or set(kinds) == {"n"} or "n" not in kinds:
        return None
    if kinds[0] == "n":
        end = kinds.rindex("n") + 1
        photo, cells = words[end:], words[:end]
    else:
        ends = [kinds.find("n")] + ([kinds.index("p") + 1] if "p" in kinds else [])
        photo, cells = words[: min(ends)], words[min(ends) :]
    numbers = [number(cell) for cell in cells]
    if not numbers or None in numbers or len(numbers) % 2:
        return None
    points = np.reshape(numbers, (-1, 2))
    return (" ".join(photo), points) if is_usable(points) else None


def is_float(word):
    try:
        float(word)
    except ValueError:
        return False
    return True


def has_ending(word):
    _, dot, ending = word.rpartition(".")
    return bool(dot) and ending[:1].isascii() and ending[:1].isalpha() and ending.isidentifier()


@pytest.mark.parametrize("content", LISTS)
def test_spoiled_lists(path, content):
    @fuzz
    @given(EDITS)
    def check(edits):
        check_list(path, content, edits)

    check()


def check_list(path, content, edits):
    spoiled = spoil(content, edits)
    faces = read(path, spoiled, "list")
    text = spoiled.decode("utf-8-sig", errors="replace")
    if faces is None or not text.isascii() or set(text) & set("\r\v\f\x1c\x1d\x1e\x1f"):
        return  # refused, or other characters end lines
    lines = enumerate(text.splitlines(keepends=True), start=1)
    assert_same(faces, {row: face for row, line in lines if (face := slow_list(line))})


# ── tables ──

TABLES = [
    b"file_name,nose_x,nose_y,chin_x,chin_y\na.jpg,1,2,3,4\nb.jpg,5,6.5,,\n",
    b"image;x0;x1;y0;y1\na.jpg;1,5;2;3;4\n",
    b"sex\tx\ty\tw\th\tNoseX\tNoseY\tChinX\tChinY\tpath\nf\t0\t0\t9\t9\t1\t2\t3\t4\ta.jpg\n",
]


@pytest.mark.parametrize("content", TABLES)
def test_spoiled_headers(path, content):
    @fuzz
    @given(EDITS)
    def check(edits):
        check_header(path, content, edits)

    check()


def check_header(path, content, edits):
    """Spoils the header: the rows are read accordingly, or the file is refused."""
    header, rows = content.split(b"\n", 1)
    spoiled = spoil(header, edits)
    text = spoiled.decode(errors="replace")
    faces = read(path, spoiled + b"\n" + rows, "table")
    if faces is None or not text.isascii() or set(text) & set('\r\n"\v\f\0'):
        return
    separator = max("\t,;", key=text.count)
    columns = slow_columns([title.strip() for title in text.split(separator)])
    assert columns is not None
    for face in faces.values():
        cells = rows.decode().splitlines()[face.row - 2].split(separator)
        cells = [cell.replace(",", ".") if separator != "," else cell for cell in cells]
        numbers = [float(cells[column].strip() or "nan") for column in columns]
        np.testing.assert_array_equal(face.landmarks.ravel(), numbers)
