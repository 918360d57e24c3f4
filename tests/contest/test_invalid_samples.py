from keras_landmarks.contest import invalid_samples
from keras_landmarks.contest.invalid_samples import InvalidSample


def test_samples_are_written_as_table(tmp_path):
    path = tmp_path / "rejects.csv"
    invalid_samples.write_invalid_samples(path, [InvalidSample("a.jpg", 3, "the file is empty")])
    assert path.read_text() == "file_name\trow\treason\na.jpg\t3\tthe file is empty\n"


def test_unprintable_characters_are_escaped(tmp_path):
    path = tmp_path / "rejects.csv"
    samples = [InvalidSample("b\udce9.jpg", 2, "bad name: 'b\t'")]
    invalid_samples.write_invalid_samples(path, samples)
    assert path.read_text().splitlines()[1] == "b\\udce9.jpg\t2\tbad name: 'b\\t'"


def test_kind_is_reason_without_details():
    assert InvalidSample("a.jpg", 3, "repeated: line 2: twice").kind == "repeated"
    assert InvalidSample("a.jpg", 3, "the file is empty").kind == "the file is empty"
