"""Fuzz tests: the readers get files with random edits.

A reader either refuses such a file with a message of one line, or reads what an independent, slow
reader in this file reads. KERAS_LANDMARKS_FUZZ is the number of files per test: by default 40,
always the same ones; a larger number draws new files in every run.
"""

import contextlib
import io
import json
import os
import re
import struct
import unicodedata
import zipfile

import cv2
import h5py
import numpy as np
import pytest
from absl.testing import flagsaver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_landmarks import flags
from keras_landmarks.contest import (
    grouping,
    landmark_tables,
    prediction_files,
    requested_points,
    table_files,
)
from keras_landmarks.images import decoding, image_header
from keras_landmarks.layouts import layout, mirror
from keras_landmarks.models import keras_weights, networks, resnet
from keras_landmarks.training import checkpoint
from keras_landmarks.training.checkpoint import Position
from keras_landmarks.utils.errors import InputError

FILES = int(os.environ.get("KERAS_LANDMARKS_FUZZ", "40"))
fuzz = settings(
    max_examples=FILES,
    derandomize=FILES <= 40,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

BYTES = b"\0\t\n\r\v ,;\"'[]{}()-+._/\\eE019\x7f\x80\xff"
WORDS = [
    *[b"\r\n", b"\t\t", b",,", b"\n\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc2\xa0", b"\xd9\xa1"],
    *[b"nan", b"inf", b"1e999", b"1_0", b"0x1", b"--", b"32767", b"32768", b"9" * 20, b"[" * 2000],
    *[b"../", b"/", b"__import__('os')", b"--flagfile=", b"PK\x05\x06", b"\x89HDF", b"IEND"],
    *[b"\xff\xd8", b"\xff\xd9", b"\xff\xff\xff\xff"],
]
TOKENS = [bytes([byte]) for byte in BYTES] + WORDS
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["put", "insert", "cut", "repeat", "end"]),
        st.integers(1, 40),
        st.sampled_from(TOKENS) | st.binary(min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=5,
)


def spoil(content, edits):
    """Returns the content after a few edits, each at a place given as a fraction of the length."""
    for share, kind, length, token in edits:
        place = int(share * len(content))
        before, after = content[:place], content[place:]
        content = {
            "put": before + token + after[len(token) :],
            "insert": before + token + after,
            "cut": before + after[length:],
            "repeat": before + after[:length] + after,
            "end": before if length > 30 else content,
        }[kind]
    return content


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "file"


@contextlib.contextmanager
def refusal():
    """Within the context, an InputError is accepted if its message is one line."""
    refused = None
    try:
        yield
    except InputError as error:
        refused = str(error)
    assert "\n" not in (refused or "")


# ── tables ──

NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
TABLES = [
    b"file_name\tx0\ty0\tx1\ty1\na b.jpg\t1\t-2\t30\t400\n\xc3\xa4.jpg\t1\t2\t3\t4",
    b'\xef\xbb\xbffile_name,x,y\r\n"a.jpg","1.5","-2"\r\nin/b.jpg, 3,4e1\r\n',
    b"file_name,x,y\na.jpg,1,2\nb.jpg,3,4\nc.jpg,5,6\nd.jpg,7,8",
    b'file_name,x,y\n"a, b.jpg",1,2\n "a ""c"".jpg", 3,4\n\'d\'.jpg,5,6\ne".jpg,7,8\n',
    b'id;y;file_name;x\n1;2;"a.jpg";3\n2;4,5;b.jpg;6\n"3;4";7;"c;d.jpg";8\n',
    b"person,file_name,x1,y1,x2,y2,nose_x,nose_y\nAda,a.jpg,0,0,9,9,1,2\n,b.jpg,0,0,9,9,3,4\n",
    b"file_name\tNoseY\tNoseX\tw\th\tChin_x\tChin_y\na.jpg\t1\t2\t9\t9\t3\t4\n",
]
PLAIN_TITLES = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")


def cells_of(content, split_all=False):
    """Returns the separator, the titles, and line number and cells of each row.

    Unless `split_all` only the first cell may have separators within quotes. Returns None for an
    invalid header.
    """
    header, *lines = content.split(b"\n")
    if header.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None
    header = header.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
    separator = b"\t" if b"\t" in header else b","
    if separator == b"," and header.count(b";") > header.count(b","):
        separator = b";"
    titles = [text(cell) for cell in header.split(separator)]
    if titles.count("file_name") != 1:
        return None
    rows = []
    for line, row in enumerate(lines, start=2):
        if row.strip():
            rows.append((line, split(row.rstrip(b"\r"), separator, split_all)))
    return separator, titles, rows


def split(row, separator, split_all):
    end = row.find(separator, end_of_quotes(row))
    if end < 0:
        return [row]
    rest = row[end + 1 :]
    others = split(rest, separator, split_all) if split_all else rest.split(separator)
    return [row[:end], *others]


def end_of_quotes(row):
    """Returns the end of the quotes that a row starts with; 0 if it starts without quotes."""
    place = len(row) - len(row.lstrip(b" ")) + 1
    if row[place - 1 : place] != b'"':
        return 0
    while (place := row.find(b'"', place) + 1) and row[place : place + 1] == b'"':
        place += 1
    return place


def text(cell):
    cell = unicodedata.normalize("NFC", os.fsdecode(cell).strip())
    quoted = re.fullmatch('"(.*)"', cell, re.DOTALL)
    return quoted[1].replace('""', '"') if quoted else cell


def is_name(name):
    ordinary = all(ord(c) >= 32 and ord(c) != 127 and not 0xD800 <= ord(c) <= 0xDFFF for c in name)
    return ordinary and name != "" and name[0] != "/" and ".." not in name.split("/")


def slow_number(cell, separator):
    cell = cell.strip(b' "')
    if separator != b",":
        cell = cell.replace(b",", b".")
    if not NUMBER.fullmatch(cell):
        return None
    value = float(cell)
    return np.float32(value) if abs(value) <= 32767 else None


def slow_columns(titles):
    """Returns the columns of x and y of each point; None if no landmark table has such titles.

    Follows the documentation title by title, for titles in ASCII.
    """
    known = {}  # (point, axis) -> column
    for column, title in enumerate(titles):
        words = [(m.start(), m.end(), m[0].lower()) for m in PLAIN_TITLES.finditer(title)]
        words_of_title = [word for _, _, word in words]
        places = [i for i, word in enumerate(words_of_title) if word in ("x", "y", "z")]
        places = places or [
            i for i, w in enumerate(words_of_title) if w in ("w", "h", "width", "height")
        ]
        if not places or NOT_POINTS & set(words_of_title):
            continue
        start, end, axis = words[places[-1]]
        point = re.sub("[^A-Za-z0-9]+", "_", title[:start] + title[end:]).strip("_")
        axis = axis[0]
        if (point, axis) in known and axis in "xy":
            return None
        known.setdefault((point, axis), column)
    columns = {}
    for point in dict.fromkeys(point for point, axis in known if axis in "xy"):
        if (point, "x") in known and (point, "y") in known:
            columns[point] = known[point, "x"], known[point, "y"]
    alone = [key for key in known if key[1] in "xy" and key[0] not in columns]
    while alone:
        point, axis = alone.pop(0)
        others = [key for key in alone if key[0].lower() == point.lower()]
        if len(others) != 1 or others[0][1] == axis:
            return None
        alone.remove(others[0])
        both = dict([(axis, known[point, axis]), (others[0][1], known[others[0]])])
        columns[point if axis == "x" else others[0][0]] = both["x"], both["y"]
    columns = dict(sorted(columns.items(), key=lambda item: min(item[1])))
    boxes = [p for p, pair in columns.items() if is_sized(p, pair, known)]
    sized = any((p, "w") in known and (p, "h") in known for p, _ in known)
    boxes = boxes or [p for p in columns if sized and p.lower() in ("center", "centre")]
    boxes = boxes or corners(columns)
    columns = {point: pair for point, pair in columns.items() if point not in boxes}
    if not columns or len({(point, "z") in known for point in columns}) > 1:
        return None
    if len({re.sub("[0-9]+", "", point) for point in columns}) == 1:
        numbers = {point: [int(n) for n in re.findall("[0-9]+", point)] for point in columns}
        if len(set(map(str, numbers.values()))) < len(numbers):
            return None
        columns = {point: columns[point] for point in sorted(columns, key=numbers.get)}
    return [column for pair in columns.values() for column in pair]


NOT_POINTS = {"box", "bbox", "bb", "rect", "rectangle", "roi", "min", "max", "mm", "cm", "world"}
NOT_POINTS |= {"norm", "normalized", "normalised", "rel", "relative", "percent", "pct"}


def is_sized(point, pair, known):
    sizes = [known.get((point, side)) for side in "wh"]
    return None not in sizes and min(sizes) > max(pair)


def corners(columns):
    for what in ("", "face", "head", "person", "crop", "detection"):
        for two in ("0 1", "1 2", "tl br", "lt rb", "ul lr", "topleft bottomright"):
            names = [f"{what}{corner}" for corner in two.split()]
            found = {point.lower().replace("_", ""): point for point in columns}
            both = [found[name] for name in names if name in found]
            others = [point for point in columns if point not in both]
            if len(both) == 2 and others and all(re.search("[A-Za-z]", point) for point in others):
                return both
    return []


def slow_landmarks(content):
    """Returns valid rows (name, numbers) by line, and the lines of the others; None if refused."""
    table = cells_of(content)
    columns = table and slow_columns(table[1])
    if not columns:
        return None
    separator, titles, _ = table
    name = titles.index("file_name")
    is_plain = [name, *columns] == list(range(len(titles)))
    _, _, rows = cells_of(content, split_all=not is_plain)
    valid, rejected = {}, []
    for line, cells in rows:
        cells_of_row = [*cells, *[b""] * len(titles)]
        numbers = [slow_number(cells_of_row[column], separator) for column in columns]
        file_name = text(cells_of_row[name])
        if is_name(file_name) and len(cells) == len(titles) and None not in numbers:
            valid[line] = file_name, numbers
        else:
            rejected.append(line)
    return valid, rejected


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("block", [9, 1 << 23])
def test_spoiled_landmark_tables(path, table, block):
    @fuzz
    @given(EDITS)
    def check(edits):
        check_table(path, table, edits)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_files, "_BLOCK_BYTES", block)
        check()


def check_table(path, table, edits):
    content = spoil(table, edits)
    path.write_bytes(content)
    if not content.split(b"\n")[0].removeprefix(b"\xef\xbb\xbf").isascii():
        return
    expected = slow_landmarks(content)
    valid, rejected = {}, []
    with refusal():
        for rows in landmark_tables.iterate_landmarks(path):
            numbers = [list(points.astype(np.float32).flat) for points in rows.landmarks_photo_px]
            found = zip(rows.file_names, numbers, strict=True)
            valid |= dict(zip(rows.lines, found, strict=True))
            rejected += [reject.line for reject in rows.invalid_samples]
        assert (valid, rejected) == expected
        return
    assert expected is None


def slow_indices(cell):
    """Returns the list, as JSON reads it, or None."""
    try:
        indices = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    valid = isinstance(indices, list) and indices
    return indices if valid and all(type(i) is int and 0 <= i <= 32767 for i in indices) else None


def slow_pairs(content, column):
    """Returns line, file name and the column's cell of each row; None without such a column."""
    table = cells_of(content)
    if table is None:
        return None
    separator, titles, _ = table
    if column not in titles and len(titles) != 2:
        return None
    name = titles.index("file_name")
    value = 1 - name if len(titles) == 2 else titles.index(column)
    pairs = []
    for line, row in enumerate(content.split(b"\n")[1:], start=2):
        if row.strip():
            cells = split(row.rstrip(b"\r"), separator, split_all=True)
            last = len(titles) - 1
            cells[last:] = [separator.join(cells[last:])] if len(cells) > last else []
            cells += [b""] * len(titles)
            pairs.append((line, text(cells[name]), text(cells[value])))
    return pairs


ASKED = b'file_name,point_index_list\r\na.jpg,"[3, 1, 9]"\r\n"b, ""c""","[0,2 , 5]"\nc.jpg,[7]\n'


@fuzz
@given(edits=EDITS)
def test_spoiled_index_lists(path, edits):
    content = spoil(ASKED, edits)
    path.write_bytes(content)
    rows = None
    with refusal():
        rows = list(requested_points.iterate_test_points(path))
    expected = slow_pairs(content, "point_index_list")
    assert (rows is None) == (expected is None)
    for row, (line, name, cell) in zip(rows or [], expected or [], strict=True):
        indices = slow_indices(cell)
        assert (row.file_name, row.line) == (name, line)
        if isinstance(row, requested_points.RequestedPoints):
            assert row.point_indices.tolist() == indices
            assert is_name(name)
        else:  # JSON accepts tabs and -0 as well
            assert indices is None or not is_name(name) or re.search("[\t\r-]", cell)


@fuzz
@given(edits=EDITS)
def test_spoiled_groups(path, edits):
    content = spoil(b'file_name\tperson\na.jpg\tAda\n"b.jpg"\t"Bo ""B"""\na.jpg\tAda\n', edits)
    path.write_bytes(content)
    groups = None
    with refusal():
        groups = grouping.read_group_table(path)
    if groups is not None:
        assert groups == {name: group for _, name, group in slow_pairs(content, "group")}


@fuzz
@given(edits=EDITS)
def test_spoiled_flagfiles(path, edits):
    lines = b"--data=faces\n--epochs=3\n--noprepare\n# a comment\n--learning_rates=0:1e-2,1:1e-3\n"
    path.write_bytes(spoil(lines, edits))

    def fail(message, status=1):
        raise InputError(" ".join(message.split()))

    with pytest.MonkeyPatch.context() as patch, refusal(), flagsaver.flagsaver():
        patch.setattr(flags, "_fail", fail)
        patch.setattr(os, "_exit", None)
        flags._parse_flags(["train", f"--flagfile={path}"], takes_paths=False)


# ── predictions ──


@pytest.fixture(scope="module")
def predictions(path):
    """Names, landmarks, sigmas, and the bytes of their file."""
    names = [f"{number}.jpg" for number in range(3)]
    numbers = np.random.default_rng(0).uniform(1, 500, (3, 4, 3)).astype(np.float32)
    landmarks, sigmas = numbers[..., :2], numbers[..., 2]
    prediction_files.write(path, names, landmarks, sigmas)
    return names, landmarks, sigmas, path.read_bytes()


@fuzz
@given(edits=EDITS)
def test_spoiled_predictions(path, predictions, edits):
    names, landmarks, sigmas, content = predictions
    path.write_bytes(spoil(content, edits))
    with refusal():
        table = prediction_files.read(path)
        assert table.file_names == names
        np.testing.assert_array_equal(table.landmarks_photo_px, landmarks)
        if (
            table.sigmas_px is not None
        ):  # an edit may hide the array from the archive's list of names
            np.testing.assert_array_equal(table.sigmas_px, sigmas)


@pytest.mark.parametrize("spoiled", ["file_names.npy", "landmarks.npy", "sigmas.npy"])
def test_spoiled_arrays_with_valid_checksums(path, predictions, spoiled):
    with zipfile.ZipFile(io.BytesIO(predictions[-1])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    @fuzz
    @given(EDITS)
    def check(edits):
        content = spoil(members[spoiled], edits)
        with zipfile.ZipFile(path, "w") as archive:
            for name, member in (members | {spoiled: content}).items():
                archive.writestr(name, member)
        with refusal():
            table = prediction_files.read(path)
            assert table.landmarks_photo_px.shape[0] == len(table.file_names) == 3
            assert table.landmarks_photo_px.nbytes <= len(members["landmarks.npy"]) + 200
            assert table.sigmas_px.shape == table.landmarks_photo_px.shape[:2]
            # NumPy's own reader agrees; with the right size it is safe to ask.
            with np.load(path, allow_pickle=False) as arrays:
                np.testing.assert_array_equal(
                    table.landmarks_photo_px, arrays["landmarks"].astype(np.float32)
                )
                np.testing.assert_array_equal(table.sigmas_px, arrays["sigmas"].astype(np.float32))
                assert table.file_names == arrays["file_names"].tolist()

    check()


# ── images ──

PHOTO = np.random.default_rng(0).integers(0, 255, (5, 4, 3)).astype(np.uint8)
PHOTO = cv2.resize(PHOTO, (40, 24))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_spoiled_images(suffix):
    content = cv2.imencode(suffix, PHOTO)[1].tobytes()
    whole = decoding.decode_image(content)

    @fuzz
    @given(EDITS)
    def check(edits):
        try:
            image = decoding.decode_image(spoil(content, edits))
        except ValueError:
            return
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert 0 < image.size <= 3 * image_header.MAX_PIXELS
        if suffix == ".png":  # PNG has checksums
            np.testing.assert_array_equal(image, whole)

    check()


# ── weights ──

SMALL = resnet.ResNetConfig("basic", (1,), stem_width=8)


@pytest.fixture(scope="module")
def model():
    """A model whose optimiser has its variables."""
    model = networks.build(SMALL, 2, image_size=32)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def values(model):
    return {v.path: np.asarray(v.value) for v in model.variables + model.optimizer.variables}


def slow_safetensors(content):
    """Returns the arrays by name, read as the format is specified."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        dtype = "<" + entry["dtype"].lower()[0] + str(int(entry["dtype"][1:]) // 8)
        data = content[8 + length + begin : 8 + length + end]
        arrays[name] = np.frombuffer(data, dtype).reshape(entry["shape"])
    return arrays


def header_of(content):
    """Splits a safetensors file into its header and its tensors."""
    (length,) = struct.unpack_from("<Q", content)
    return content[: 8 + length], content[8 + length :]


def assert_same(model, arrays):
    for name, variable in keras_weights.named_variables(model).items():
        array = arrays[name]
        expected = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        np.testing.assert_array_equal(np.asarray(variable.value), expected.astype(np.float32))


def spoil_and_load(path, model, load):
    """Spoils a safetensors file; `load` gets the content and must refuse it or read it right."""
    header, tensors = header_of(path.read_bytes())

    @fuzz
    @given(EDITS, st.booleans())
    def check(edits, only_header):
        whole = spoil(header, edits) + tensors if only_header else spoil(header + tensors, edits)
        path.write_bytes(whole)
        before = values(model)
        with refusal():
            load(whole)
            return
        np.testing.assert_equal(values(model), before)

    check()


def test_spoiled_safetensors(path, model):
    path = path.with_suffix(".safetensors")
    keras_weights.save_safetensors(model, path)

    def load(content):
        keras_weights.load_weights(model, path)
        assert_same(model, slow_safetensors(content))

    spoil_and_load(path, model, load)


def test_spoiled_checkpoints(path, model):
    path = path.with_suffix(".safetensors")
    checkpoint.save_checkpoint(path, model, Position(7, 3), steps_per_epoch=10)

    def load(content):
        position, _ = checkpoint.restore_checkpoint(path, model, steps_per_epoch=10)
        assert position.epoch >= 0
        assert 0 <= position.step < 10
        arrays = slow_safetensors(content)
        for name, value in values(model).items():
            np.testing.assert_array_equal(value, arrays[name].astype(value.dtype))

    spoil_and_load(path, model, load)


def test_spoiled_keras_weights(path, model):
    path = path.with_name("file.weights.h5")
    model.save_weights(path)
    content = path.read_bytes()

    @fuzz
    @given(EDITS)
    def check(edits):
        path.write_bytes(spoil(content, edits))
        before = values(model)
        with refusal():
            keras_weights.load_weights(model, path)
            return
        np.testing.assert_equal(values(model), before)

    check()


# ── layouts of points ──


def test_spoiled_layouts(path):
    content = b'{"regions": {"eyes": [0, 1], "nose": [2, 11]}, "mirror": [1, 0]}'

    @fuzz
    @given(EDITS)
    def check(edits):
        path.write_bytes(spoil(content, edits))
        with refusal():
            regions = layout.regions_of(12, path)
            assert all(0 <= part.start < part.stop <= 12 for part in regions.values())

    check()


def test_spoiled_mirror_maps(path):
    content = b'{"regions": {"eyes": [0, 1]}, "mirror": [1, 0, 2, 4, 3, 11, 6, 10, 8, 9, 7, 5]}'

    @fuzz
    @given(EDITS)
    def check(edits):
        path.write_bytes(spoil(content, edits))
        with refusal():
            mirror_map = mirror.read_map(path, 12)
            np.testing.assert_array_equal(mirror_map[mirror_map], np.arange(12))

    check()


# ── damaged or malicious weights ──


def keras_file(path, spoil):
    """Writes a Keras weight file with one layer, conv1, whose only variable `spoil` makes."""
    with h5py.File(path, "w") as file:
        variables = file.create_group("layers/conv2d/vars")
        variables.attrs["name"] = "conv1"
        spoil(variables)


def claim_much(variables):
    variables.create_dataset("0", (1 << 20, 1 << 20), "f4", chunks=(64, 64))


def lie_outside(variables):
    numbers = [("numbers", 0, 7 * 7 * 3 * 8 * 4)]
    variables.create_dataset("0", (7, 7, 3, 8), "f4", external=numbers)


def link_outside(variables):
    variables["0"] = h5py.ExternalLink("other.h5", "numbers")


def be_virtual(variables):
    layout = h5py.VirtualLayout((7, 7, 3, 8), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "numbers", (7, 7, 3, 8))
    variables.create_virtual_dataset("0", layout)


@pytest.mark.parametrize("trick", [claim_much, lie_outside, link_outside, be_virtual])
def test_weights_outside_the_file_are_refused(tmp_path, model, trick, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = np.ones((7, 7, 3, 8), np.float32)
    (tmp_path / "numbers").write_bytes(numbers.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["numbers"] = numbers
    keras_file(tmp_path / "best.weights.h5", trick)
    with pytest.raises(InputError, match=r"best\.weights\.h5: .*stored"):
        keras_weights.load_weights(model, tmp_path)


def test_integer_weights_are_refused(tmp_path, model):
    path = tmp_path / "weights.safetensors"
    keras_weights.save_safetensors(model, path)
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I32"', 1))
    before = values(model)
    with pytest.raises(InputError, match=r"\S+ int32"):
        keras_weights.load_weights(model, path)
    np.testing.assert_equal(values(model), before)


@pytest.mark.parametrize(
    ("old", "new"), [(b'"F32"', b'"I32"'), (b": 7", b":-7"), (b": 3", b": a"), (b": 10", b":  2")]
)
def test_checkpoint_of_other_types_is_refused(tmp_path, model, old, new):
    path = tmp_path / "last.safetensors"
    checkpoint.save_checkpoint(path, model, Position(7, 3), steps_per_epoch=10)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(InputError, match=r"last\.safetensors: "):
        checkpoint.restore_checkpoint(path, model, steps_per_epoch=10)
