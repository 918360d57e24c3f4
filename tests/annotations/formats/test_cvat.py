import pytest
from annotation_files import NO, assert_faces, converted, read_faces, write_photo

from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.utils.errors import InputError

LABELS = """
      <labels>
        <label><name>face</name><color>#a00</color><type>skeleton</type><attributes></attributes>
          <svg>&lt;line x1="1"/&gt;</svg></label>
        <label><name>nose</name><type>points</type><parent>face</parent></label>
        <label><name>left_eye</name><type>points</type><parent>face</parent></label>
        <label><name>right_eye</name><type>points</type><parent>face</parent></label>
        <label><name>chin</name><type>points</type><parent>face</parent></label>
      </labels>"""


def cvat(*images, labels=""):
    """Returns the text of "CVAT for images 1.1"."""
    return f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>1</id><name>faces</name><mode>annotation</mode>{labels}</task>
    <dumped>2026-01-01 10:00:00.0+00:00</dumped></meta>
  {"".join(images)}
</annotations>"""


def image(name, *shapes, size=(200, 120), more=""):
    width, height = size
    inside = "".join(shapes)
    return f'<image id="0" name="{name}" {more} width="{width}" height="{height}">{inside}</image>'


def points(label, places, more='outside="0" occluded="0"'):
    return f'<points label="{label}" source="manual" {more} points="{places}"></points>'


def skeleton(*inside, label="face"):
    return f'<skeleton label="{label}" source="manual" z_order="0">{"".join(inside)}</skeleton>'


NOSE = points("nose", "100.50,60.00")
EYES = [points("right_eye", "110,41"), points("left_eye", "80,40", 'outside="0" occluded="1"')]
OUTSIDE = points("chin", "100,90", 'outside="1" occluded="0"')


def test_skeletons_are_converted_in_order_of_project(write, tmp_path):
    """A point that is outside is missing, one that is occluded is not."""
    write_photo(tmp_path / "images" / "a.jpg")
    write_photo(tmp_path / "images" / "train" / "b.jpg")
    images = [
        image("a.jpg", skeleton(*EYES, NOSE, points("chin", "100,90"))),
        image("b.jpg", skeleton(NOSE, *EYES, OUTSIDE), more='subset="train"'),
        image("c.jpg"),
    ]
    source = write(cvat(*images, labels=LABELS), "annotations.xml")
    faces, names, results = converted(source, tmp_path / "data", photos=tmp_path / "images")
    assert names == ["nose", "left_eye", "right_eye", "chin"]
    face = [[100.5, 60], [80, 40], [110, 41]]
    assert_faces(faces, [("a.jpg", [*face, [100, 90]]), ("train/b.jpg", [*face, NO])])
    assert (results["rejected"], results["missing_points"]) == (1, 1)


def test_shapes_of_several_points_are_faces(write):
    source = write(cvat(image("a.jpg", points("face", "1,2;3,4.5"))), "a.xml")
    assert read_faces(source) == [("a.jpg", [[1, 2], [3, 4.5]])]
    assert read_annotations(source, "auto").names is None


def test_single_points_are_joined_by_group_or_box(write):
    shapes = [points("nose", f"{x},20", f'group_id="{x}"') for x in (10, 60)]
    shapes += [points("chin", f"{x},30", f'group_id="{x}"') for x in (10, 60)]
    expected = [("a.jpg", [[10, 30], [10, 20]]), ("a.jpg", [[60, 30], [60, 20]])]
    assert read_faces(write(cvat(image("a.jpg", *shapes)), "a.xml")) == expected
    shapes = [
        points(name, f"{x},{y}") for x in (10, 60) for name, y in (("nose", 20), ("chin", 30))
    ]
    boxes = [f'<box label="face" xtl="{x}" ytl="0" xbr="{x + 30}" ybr="50"/>' for x in (0, 50)]
    source = write(cvat(image("a.jpg", *shapes, *boxes)), "a.xml")
    assert read_faces(source) == expected
    [first, _] = read_annotations(source, "auto").faces
    assert (first.box, first.photo_size_px) == ((0, 0, 30, 50), (200, 120))


def test_shapes_that_are_not_points_are_counted(write):
    line = '<polyline label="jaw" points="1,2;3,4"/>'
    source = write(cvat(image("a.jpg", NOSE, line)), "a.xml")
    ignored = read_annotations(source, "auto").ignored
    assert ignored == ["shapes that are not points: 1 (polyline)"]


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ([skeleton(NOSE, NOSE)], "two points 'nose' in one skeleton"),
        ([skeleton(points("nose", "1,2;3,4"))], "not one place: point nose"),
        ([skeleton(points("nose", "1,x"))], "not a number: 'x', y of point nose"),
        ([skeleton(OUTSIDE)], "no points"),
        ([skeleton(NOSE), skeleton(NOSE), skeleton(label="hand")], "another label: hand"),
        ([NOSE, NOSE], "two points 'nose' in one face; group the points of each face"),
        ([points("nose", "1")], "not a number: None, x of point nose"),
    ],
)
def test_unusable_shapes_have_reasons(write, shapes, reason):
    assert reason in read_faces(write(cvat(image("a.jpg", *shapes)), "a.xml"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("<annotations>", "not XML"),
        ("<dataset><images/></dataset>", "not CVAT's XML but <dataset>; .*COCO"),
        (cvat(image("a.jpg"), image("a.jpg")), r"two photos are called .*a\.jpg"),
        (cvat('<track id="0" label="nose"></track>'), 'tracks of a video.*"CVAT for images 1.1"'),
    ],
)
def test_other_file_is_refused(write, text, named):
    with pytest.raises(InputError, match=rf"a\.xml: {named}"):
        read_annotations(write(text, "a.xml"), "auto")
