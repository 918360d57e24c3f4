import json
import shutil

import learning_curve
import numpy as np
import pandas as pd

from keras_landmarks.contest import grouping, landmark_tables
from keras_landmarks.layouts import layout


def test_points_come_with_their_mirror_partners():
    mirror_map = layout.mirror_map()
    for count in (5, 30, 98):
        points = learning_curve.choose_points(count, mirror_map)
        assert len(set(points)) == count
        assert set(mirror_map[points]) == set(points)


def test_people_are_held_out_whole():
    people = {f"{photo}.jpg": str(photo // 3) for photo in range(12)}
    pool, held_out = learning_curve.split_by_person(list(people), people, held_out=1)
    assert len(held_out) == 3
    assert len({int(photo) // 3 for photo in held_out}) == 1
    np.testing.assert_array_equal(np.sort(np.concatenate([pool, held_out])), np.arange(12))


def test_subset_has_the_points_of_its_images(faces, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(faces, data)
    table = landmark_tables.read_landmarks(data / "train" / "landmarks.csv")
    names = table.file_names
    grouping.write_group_table(data / "train" / "persons.csv", "person", names, names)
    points = learning_curve.choose_points(6, layout.mirror_map())
    chosen = [names[5], names[2]]
    learning_curve.write_subset(data, tmp_path / "subset", {"train": chosen}, points)
    subset = landmark_tables.read_landmarks(tmp_path / "subset" / "train" / "landmarks.csv")
    assert subset.file_names == chosen
    np.testing.assert_array_equal(
        subset.landmarks_photo_px, table.landmarks_photo_px[[5, 2]][:, points]
    )
    partners = json.loads((tmp_path / "subset" / "mirror.json").read_text())
    np.testing.assert_array_equal(points[partners], layout.mirror_map()[points])


def test_table_has_mean_and_range_of_the_draws():
    rows = [("few", 30, 20, draw, nme) for draw, nme in enumerate([0.02, 0.03, 0.025])]
    results = pd.DataFrame(rows, columns=["name", "points", "photos", "draw", "nme"])
    last = learning_curve.as_table(results).splitlines()[-1]
    assert last == "| few | 30 | 2.50 (2.00 to 3.00) |"
