import pytest

from keras_landmarks.contest import grouping
from keras_landmarks.utils.errors import InputError

NAMES = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


@pytest.fixture
def table(tmp_path):
    """Writes a table of groups and returns its path."""

    def write(name, **groups):
        names = [f"{image}.jpg" for image in groups]
        grouping.write_group_table(tmp_path / name, "group", names, groups.values())
        return tmp_path / name

    return write


def test_written_table_is_read_back(tmp_path):
    path = tmp_path / "groups.csv"
    grouping.write_group_table(path, "person", ["a.jpg", "b.jpg"], ["Ada", "Bo B"])
    assert path.read_text().startswith("file_name\tperson\n")
    assert grouping.read_group_table(path) == {"a.jpg": "Ada", "b.jpg": "Bo B"}


def test_name_in_two_groups_is_refused(write):
    with pytest.raises(InputError, match=r"table\.csv, line 3: .*a\.jpg"):
        grouping.read_group_table(write("file_name,person\na.jpg,Ada\na.jpg,Bo\n"))


def test_row_without_group_is_refused(write):
    with pytest.raises(InputError, match=r"table\.csv, line 3: "):
        grouping.read_group_table(write("file_name,person\na.jpg,Ada\nb.jpg,\n"))


def test_table_without_group_column_is_refused(write):
    with pytest.raises(InputError, match=r"table\.csv: .*group.*file_name"):
        grouping.read_group_table(write("file_name\na.jpg\n"))


def test_components_follow_chains_of_pairs():
    assert grouping.connected_components(6, [(4, 5), (1, 3), (3, 4)]) == [0, 1, 2, 1, 1, 1]


def test_single_table_keeps_group_names(table):
    persons = table("persons.csv", d="9", c="8", b="7", a="9", e="7")
    assert grouping.read_groups([persons], NAMES) == ["9", "7", "8", "9"]


def test_without_table_each_image_is_a_group():
    assert grouping.read_groups([], NAMES) == NAMES


def test_groups_of_several_tables_are_joined(table):
    """a and d are one person, d and b copies; the 1 of a table is not the 1 of another."""
    persons = table("persons.csv", a="1", b="2", c="3", d="1")
    copies = table("copies.tsv", a="4", b="1", c="3", d="1")
    for tables in ([persons, copies], [copies, persons]):
        assert grouping.read_groups(tables, NAMES) == ["a.jpg", "a.jpg", "c.jpg", "a.jpg"]
    assert grouping.read_groups([copies, persons], NAMES[:0:-1]) == ["a.jpg", "c.jpg", "a.jpg"]


def test_unused_images_link_groups(table):
    """e, a copy of a, is the same person as b."""
    persons = table("persons.csv", a="1", b="2", c="3", d="4", e="2")
    copies = table("copies.tsv", a="1", b="2", c="3", d="4", e="1")
    third = table("third.csv", a="1", b="2", c="3", d="3")
    groups = grouping.read_groups([persons, copies, third], NAMES)
    assert groups == ["a.jpg", "a.jpg", "c.jpg", "c.jpg"]


def test_missing_image_is_named(table):
    persons, copies = table("persons.csv", a="1", b="1"), table("copies.tsv", a="1", c="1")
    with pytest.raises(InputError, match=r"copies\.tsv: 1 of the 2 .* b\.jpg"):
        grouping.read_groups([persons, copies], NAMES[:2])
