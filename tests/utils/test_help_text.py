import pytest
from absl import flags

from keras_landmarks.utils.help_text import help_text


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def some():
    values = flags.FlagValues()
    flags.DEFINE_integer("epochs", 18, "Passes over the images.", flag_values=values)
    flags.DEFINE_bool("resume", True, "Go on from what is there.", flag_values=values)
    flags.DEFINE_string("data", None, "Folder.", flag_values=values)
    flags.DEFINE_bool("reset_optimizer_each_epoch", False, "Forget.", flag_values=values)
    return [values[name] for name in ("epochs", "resume", "data", "reset_optimizer_each_epoch")]


def test_flags_are_listed_by_subject_with_their_defaults(some):
    assert help_text("Trains.\n", {"The run": some}, is_terminal=False) == (
        """\
Trains.

The run
  --epochs                Passes over the images. [18]
  --[no]resume            Go on from what is there. [yes]
  --data                  Folder.
  --[no]reset_optimizer_each_epoch
                          Forget. [no]

--flagfile=FILE reads flags from a file; those after it win."""
    )


def test_long_explanations_stay_in_their_column(some):
    some[2].help = "Folder in the contest's form, with images and tables."
    text = help_text("", {"The run": some}, is_terminal=False)
    assert (
        "  --data                  Folder in the contest's form, with\n"
        "                          images and tables.\n"
    ) in text
    assert max(map(len, text.splitlines())) <= 60


def test_titles_are_bold_on_a_terminal_alone(some, monkeypatch):
    assert "\033[1mThe run\033[0m" in help_text("", {"The run": some}, is_terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in help_text("", {"The run": some}, is_terminal=True)


def test_paragraphs_are_wrapped_and_what_is_indented_stays():
    words = "Trains a model on a contest folder and keeps the weights with the lowest loss."
    table = "    best.weights.h5    the weights of the epoch with the lowest training loss"
    text = help_text(f"{words}\n\n{table}\n", {}, is_terminal=False)
    wrapped = "Trains a model on a contest folder and keeps the weights\nwith the lowest loss."
    assert text.startswith(f"{wrapped}\n\n{table}\n")


@pytest.mark.parametrize("columns", [5, 20, 40])
def test_on_a_narrow_terminal_explanations_are_below_the_names(some, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = help_text("", {"The run": some[:3]}, is_terminal=False)
    assert "  --data\n      Folder.\n" in text
