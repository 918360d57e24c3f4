"""Every flag of every command, and how a command runs.

Flags are defined here once, so that one flagfile serves all the commands; `use` says which of them
a command reads and its --help shows. Only a command's `main` reads flags.
"""

import dataclasses
import functools
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from logging import Formatter, getLogger
from pathlib import Path
from typing import Any, TypeVar

from absl import app, flags, logging

from keras_landmarks.annotations import units
from keras_landmarks.command_help import command_help
from keras_landmarks.images import geometry
from keras_landmarks.input import augmentation_config
from keras_landmarks.models import registry
from keras_landmarks.training.settings import as_flag, parse_fold
from keras_landmarks.utils import compilation_cache, huge_pages, interruption, process
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_atomically
from keras_landmarks.utils.progress import end_bars

FLAGS = flags.FLAGS
Settings = TypeVar("Settings")

if __name__ in FLAGS.flags_by_module_dict():
    raise ImportError(f"{__name__} defines its flags once: start Python anew rather than reload it")

_LONGEST_MESSAGE = 1500  # characters: a file may hold a name of megabytes
_first_flags: dict[str, int] = {}  # of each subject, by their place in this module


def _subject(title: str) -> None:
    """Says what the flags are about that are defined from here on, for --help."""
    _first_flags[title] = len(_flags_here())


def _flags_here() -> list[flags.Flag]:
    return FLAGS.flags_by_module_dict().get(__name__, [])


class _PathParser(flags.ArgumentParser):
    """Takes ~ as the home folder: shells leave it as it is after the = of a flag."""

    def parse(self, argument: str) -> str:
        path = os.path.expanduser(argument)
        if path == "~" or path.startswith("~/"):
            raise ValueError("~ is the home folder, and this user has none; give the whole path")
        return path


class _PathsParser(flags.ListParser):
    """Takes paths with commas between them; a comma may also be part of a file's name."""

    def parse(self, argument: str | list[str]) -> list[str]:
        if isinstance(argument, list):
            return argument
        pieces = argument.split(",")
        paths = _files_of(pieces) or super().parse(argument)
        return list(map(_PathParser().parse, paths))


def _files_of(pieces: list[str]) -> list[str] | None:
    """Returns the files, with commas in their names, that the pieces are of; None if some are not.

    The longest name counts that is there.
    """
    for count in range(len(pieces), 0, -1):
        path = ",".join(pieces[:count]).strip()
        if os.path.exists(os.path.expanduser(path)):
            rest = _files_of(pieces[count:]) if pieces[count:] else []
            if rest is not None:
                return [path, *rest]
    return None


def _define_path_or_word(name: str, default: str | None, meaning: str) -> None:
    """Defines a flag whose value is a path, or a word with a meaning of its own."""
    flags.DEFINE(_PathParser(), name, default, meaning)


def _define_paths(name: str, meaning: str) -> None:
    """Defines a flag whose value is one or several paths of files."""
    flags.DEFINE(_PathsParser(), name, None, meaning, serializer=flags.CsvListSerializer(","))


def _define_path(name: str, default: str | None, meaning: str) -> None:
    """Defines a flag whose value is a path: none is empty."""
    _define_path_or_word(name, default, meaning)
    flags.register_validator(name, lambda path: path != "", "it is empty; give a path")


def _define_folder(name: str, default: str | None, meaning: str) -> None:
    """Defines a flag whose value is a folder, there or not."""
    _define_path(name, default, meaning)
    flags.register_validator(
        name,
        lambda path: path is None or not os.path.exists(path) or os.path.isdir(path),
        "it is no folder",
    )


_subject("Where things are")
_define_folder("data", None, "Folder in the contest's form: train/ and test/ with images.")
_define_folder(
    "prepared", "prepared", "Folder for everything made from --data, which is never written to."
)
flags.DEFINE_bool(
    "prepare",
    True,
    "Decode every image once and keep the crops under --prepared; otherwise in every epoch.",
)
_define_folder("workdir", "work", "Folder of one training run: weights, history, logs.")
_define_path(
    "split", "test", "Folder of --data with images and a table of them: train, test, or another."
)
_define_path("submission", None, "The contest's CSV: the asked points of every image.")
_define_path("predictions", None, "All points of every image: .npz, no pickle inside.")
_define_path("truth", None, "Table of true points, in the form of landmarks.csv.")
_define_path("test_points", None, "Table that says which points are asked of an image.")
_define_path("layout", None, "JSON file with the points' regions and mirror map.")
_define_path("rejects", None, "Table to write of what cannot be used: name, row, reason.")
_define_path(
    "out",
    None,
    "What to write: a picture, contact_sheet.png unless told; of landmarks a folder, found; of"
    " export a folder, in --workdir.",
)
_define_path("html", None, "Page to write; unless told, report.html in --workdir.")

_subject("Converting")
_define_path(
    "source",
    None,
    "Annotations to convert: a table, COCO's JSON, a list, a folder of .pts files.",
)
flags.DEFINE_enum(
    "source_format",
    "auto",
    ["auto", "table", "coco", "list", "pts"],
    "What they are; auto: by the name, .json is coco, .txt a list, a folder pts, others a table.",
)
flags.DEFINE_enum(
    "points_unit",
    "auto",
    units.UNITS,
    "Unit of the points in --source: pixel, share (0 to 1 of the photo's width and height) or"
    " percent; auto: pixels, and an error if they look like another.",
)
_define_path(
    "photos", None, "Folder that the photos' names are relative to; where --source is unless told."
)
flags.DEFINE_float(
    "face_share",
    0.6,
    "Share of a crop's width and height that the points take; 0: whole photos.",
    lower_bound=0.0,
    upper_bound=1.0,
)

_subject("Making images")
flags.DEFINE_integer("train_images", 1500, "Procedural training faces.", lower_bound=1)
flags.DEFINE_integer("test_images", 200, "Procedural test faces.", lower_bound=1)
flags.DEFINE_integer(
    "augment_count", 0, "Extra images made offline from the first rows; 0: none.", lower_bound=0
)
flags.DEFINE_bool("augment_refill", False, "Replace dropped extra images from later rows.")
flags.DEFINE_float(
    "rotate_limit", 20.0, "Images are rotated by up to +- this many degrees.", lower_bound=0.0
)
flags.DEFINE_float(
    "shift_limit",
    0.0625,
    "Images are shifted by up to +- this share of each side.",
    lower_bound=0.0,
)
flags.DEFINE_float(
    "scale_limit",
    0.1,
    "Images are scaled by up to 1 +- this.",
    lower_bound=0.0,
    upper_bound=0.99,
)
flags.DEFINE_list(
    "augment_online",
    [],
    f"Vary every image anew in every epoch: {', '.join(augmentation_config.KINDS)}, with commas;"
    " no space.",
)
_define_path_or_word(
    "mirror",
    None,
    "Which point each point becomes in a mirror: contest; found, from the training faces; a JSON"
    " file; or none. Unless told: contest where images are mirrored and faces have its points, and"
    " for a prediction what the model was trained with.",
)
flags.DEFINE_integer(
    "processes", None, "Worker processes; unless given, as many as there are cores to use, or work."
)
flags.DEFINE_string(
    "beam_runner",
    None,
    "Make crops and extra images on this Apache Beam runner's workers: DirectRunner, FlinkRunner,"
    " SparkRunner, ... They must see --data and --prepared at the same paths as this machine.",
)
flags.DEFINE_string(
    "beam_options", "", "Options of that runner, as Beam's command lines have them."
)

_subject("The network and its input")
flags.DEFINE_string("model", "resnext50_32x4d", f"Network: {', '.join(registry.MODEL_NAMES)}.")
_define_path_or_word(
    "init_weights",
    "imagenet",
    "First weights: imagenet, none, a .safetensors file, or an earlier work directory.",
)
flags.DEFINE_enum(
    "head",
    "linear",
    ["linear", "shape"],
    "Last layers: every coordinate by itself, or --shape_components of the training shapes.",
)
flags.DEFINE_integer("shape_components", 120, "Of --head=shape: how many.", lower_bound=1)
flags.DEFINE_string(
    "image_size",
    "128",
    "The model's input, px: the side of a square, or width x height as 128x160.",
)
flags.DEFINE_enum(
    "framing",
    "crop",
    geometry.FRAMINGS,
    "How photos fill it: the middle cut out, all of it stretched, or all of it with black around.",
)
flags.DEFINE_bool("trim_bands", False, "Leave out black bands at the photos' edges first.")
flags.DEFINE_enum(
    "normalisation",
    "half",
    ["half", "imagenet"],
    "Pixels of 0 to 1 less 0.5 over 0.5, or less ImageNet's mean over its deviation.",
)
flags.DEFINE_enum(
    "precision", "float32", ["float32", "mixed_bfloat16"], "Of the layers; the head is float32."
)

_subject("The loss and the optimiser")
flags.DEFINE_enum(
    "loss",
    "mse",
    ["mse", "l1", "smooth_l1", "wing", "rms", "log_mse", "nll"],
    "Of an image; rms: the root of the MSE; log_mse: log(1 + MSE); nll: likelihood, with a variance"
    " for every point.",
)
flags.DEFINE_enum(
    "loss_unit", "crop", ["crop", "photo"], "Pixels of the loss; the contest scores the photo's."
)
flags.DEFINE_integer("epochs", 18, "Passes over the training images.", lower_bound=1)
flags.DEFINE_enum(
    "optimizer", "adam", ["adam", "adamw", "sgd"], "adam: with AMSGrad; sgd: with momentum."
)
flags.DEFINE_float("weight_decay", 0.05, "Of adamw and sgd.", lower_bound=0.0)
flags.DEFINE_float(
    "clip_norm", 0.0, "Longest gradient, all weights together; 0: any length.", lower_bound=0.0
)
flags.DEFINE_integer(
    "accumulate", 1, "Steps whose gradients make one update of the weights.", lower_bound=1
)
flags.DEFINE_float(
    "ema_momentum",
    0.0,
    "Keep a moving average of the weights, and predict with it; 0: the weights themselves.",
    lower_bound=0.0,
    upper_bound=1.0,
)
flags.DEFINE_integer(
    "average_last_epochs",
    0,
    "Predict with the mean of the weights after so many of the last epochs (SWA); 0: without.",
    lower_bound=0,
)
flags.DEFINE_enum(
    "schedule",
    "steps",
    ["steps", "cosine", "restarts", "one_cycle"],
    "Learning rates: --learning_rates by epoch, or --learning_rate as it falls with every step.",
)
flags.DEFINE_string(
    "learning_rates",
    "0:1e-2,5:1e-3,12:1e-4,16:1e-5",
    "Of --schedule=steps: learning rates by first epoch that they hold for, counted from 0.",
)
flags.DEFINE_float("learning_rate", 1e-3, "Highest of the other schedules.", lower_bound=0.0)
flags.DEFINE_float(
    "warmup_epochs", 0.0, "Of --schedule=cosine: epochs in which it rises.", lower_bound=0.0
)
flags.DEFINE_integer(
    "first_cycle_epochs", 1, "Of --schedule=restarts: the first cosine.", lower_bound=1
)
flags.DEFINE_bool(
    "reset_optimizer_each_epoch", True, "Forget the optimiser's moments at every epoch's start."
)

_subject("What to train and validate on")
flags.DEFINE_float(
    "train_fraction",
    0.995,
    "Share of the rows, from the first, to train on; the rest is for validation.",
    lower_bound=0.0,
    upper_bound=1.0,
)
_define_paths(
    "validation_groups",
    "Table file_name, group: no group is in both training and validation. Several, with commas,"
    " are joined: what any of them has together stays together.",
)
flags.DEFINE_string(
    "fold",
    None,
    "Hold out the 2nd of 5 parts, as 2/5, in place of the last rows; each --validation_groups"
    " whole.",
)
flags.DEFINE_integer("folds", 5, "Parts for cross-validation.", lower_bound=2, upper_bound=999)
flags.DEFINE_integer("limit", None, "Use only this many of the first rows.", lower_bound=1)
flags.DEFINE_bool("strict", False, "End at the first broken sample rather than skip it.")

_subject("The run")
flags.DEFINE_integer(
    "batch_size",
    256,
    "Images at once: of a training step, over all devices; of a prediction.",
    lower_bound=1,
)
flags.DEFINE_integer("seed", 0, "Of everything drawn at random.", lower_bound=0)
flags.DEFINE_bool(
    "resume", True, "Go on from what --workdir holds; --noresume removes that and starts over."
)
flags.DEFINE_integer(
    "save_every_steps",
    500,
    "Save the state after so many steps, as well as after every epoch.",
    lower_bound=1,
)
flags.DEFINE_string(
    "compilation_cache",
    compilation_cache.DEFAULT_FOLDER,
    "Folder in which XLA's compilations are kept for the next start; empty: nowhere.",
)

_subject("Several machines")
flags.DEFINE_string(
    "coordinator",
    None,
    "host:port of process 0, where several processes train together. Not needed where JAX finds"
    " the cluster itself: Slurm, Open MPI, Kubernetes, Cloud TPU.",
)
flags.DEFINE_integer(
    "num_processes",
    None,
    "Processes that train together; 1: this one alone, in whatever cluster it runs.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "process_id", None, "This process's number, from 0; 0 writes the work directory.", lower_bound=0
)

_subject("Results")
flags.DEFINE_enum(
    "rounding",
    "round",
    ["round", "truncate"],
    "How --submission gets integers. round: to the nearest, halves to the even one (2.5 to 2, 3.5"
    " to 4); truncate: towards 0.",
)
flags.DEFINE_enum(
    "tta",
    "none",
    ["none", "mirror", "crops", "mirror,crops"],
    "Predict several views of each image, take the mean: mirrored, shifted and scaled, or both.",
)
flags.DEFINE_integer(
    "count", 24, "Images on the contact sheet, evenly spaced over the rows.", lower_bound=1
)

_subject("Own photos")
flags.DEFINE_float(
    "min_score",
    0.75,
    "How sure it must be that there is a face, from 0 to 1.",
    lower_bound=0.01,
    upper_bound=0.99,
)
flags.DEFINE_float(
    "smallest_face",
    0.03,
    "Width of the smallest face to look for, as a share of the photo's longer side; half of it"
    " takes four times as long to look.",
    lower_bound=0.001,
    upper_bound=0.99,
)
flags.DEFINE_bool("refine", True, "Crop each face once more, by the points found first.")
flags.DEFINE_bool("draw", True, "Write each photo, or video, with its points on it.")
flags.DEFINE_bool("smooth", False, "Steady faces of videos, by a one-euro filter.")
flags.DEFINE_float(
    "min_cutoff",
    1.0,
    "Of --smooth: cutoff of points at rest, Hz; less steadies more.",
    lower_bound=0.001,
)
flags.DEFINE_float(
    "beta",
    30.0,
    "Of --smooth: Hz that the cutoff rises at a speed of one face a second; more lags less.",
    lower_bound=0.0,
)

_subject("Exporting")
flags.DEFINE_enum(
    "format",
    "onnx",
    ["onnx", "litert", "stablehlo", "saved_model", "keras"],
    "To export to: ONNX, TensorFlow Lite, JAX's, TensorFlow's or Keras's own.",
)
flags.DEFINE_enum(
    "export_precision",
    "float32",
    ["float32", "float16", "int8"],
    "Of the exported weights; float16 and int8 of onnx and litert alone, smaller files.",
)

_subject("Comparing and combining predictions")
_define_paths("compare", "Two predictions or submissions, with a comma: is one better?")
_define_paths(
    "groups",
    "Table file_name, group: images alike, a person's, that count as one draw. Several, with"
    " commas, are joined.",
)
flags.DEFINE_bool(
    "partial", False, "Score the images that are predicted, if they are not all of --truth."
)
_define_path(
    "only",
    None,
    "Table whose first column, file_name, says which images to predict or score, and no others:"
    " validation.csv of --workdir has those that were held out.",
)
_define_paths("inputs", "Predictions (.npz) or submissions to combine, with commas.")
flags.DEFINE_enum(
    "combine", "mean", ["mean", "median", "weights"], "How: weights are given or fitted."
)
flags.DEFINE_list("weights", None, "One for each of --inputs, with commas: none below 0, sum 1.")
_define_paths(
    "held_out",
    "Predictions by the same models, in the same order, of images in --truth: fits the weights.",
)

_subject("Clean data")
flags.DEFINE_list("splits", ["train", "test"], "Folders of --data to look for copies in.")
_define_folder("duplicates", "duplicates", "Folder for the tables and the picture of copies found.")
_define_path(
    "suspects", "suspects.tsv", "Table to write of labels that may be wrong; --exclude takes it."
)
_define_path(
    "exclude", None, "Table whose first column, file_name, says what not to train or validate on."
)

_subject("Measuring")
flags.DEFINE_list("stages", None, "Stages to measure, with commas; all unless told.")
flags.DEFINE_float("seconds", 15.0, "Measure a rate for so long, or a little longer.", 0.0)
flags.DEFINE_enum(
    "peer", None, ["torch", "auto"], "Run the same network in PyTorch; auto: if it is installed."
)
flags.DEFINE_string("aot", None, "Compile the train step for this TPU topology: v5e:2x2.")


@flags.validator("model")
def _check_model(value: str) -> bool:
    try:
        registry.check_model_name(value)
    except InputError as error:
        raise flags.ValidationError(str(error)) from None
    return True


@flags.validator("image_size")
def _check_image_size(value: str) -> bool:
    try:
        return bool(geometry.parse_size(value))
    except ValueError as error:
        raise flags.ValidationError(str(error)) from None


@flags.validator("fold")
def _check_fold(value: str | None) -> bool:
    try:
        return value is None or bool(parse_fold(value))
    except ValueError as error:
        raise flags.ValidationError(str(error)) from None


@flags.validator("augment_online")
def _check_augment_online(kinds: list[str]) -> bool:
    if unknown := set(kinds) - set(augmentation_config.KINDS):
        known = ", ".join(augmentation_config.KINDS)
        raise flags.ValidationError(f"{unknown.pop()!r} is none of {known}")
    return True


# Key flags belong to the command that calls `use`, not to this module.
flags.disclaim_key_flags()


def use(*wanted: str | type) -> flags.FlagValues:
    """Declares the flags that a command reads, for its --help. Returns all flags.

    A settings dataclass stands for the flags with the names of its fields.
    """
    for name in wanted:
        for flag in [name] if isinstance(name, str) else _field_names(name):
            flags.declare_key_flag(flag)
    return FLAGS


def read(settings: type[Settings]) -> Settings:
    """Returns a settings dataclass, each field filled from the flag of its name."""
    return settings(**{name: FLAGS[name].value for name in _field_names(settings)})


def write_flagfile(path: Path, values: dict[str, Any]) -> None:
    """Writes flags and their values as a flagfile."""
    given = {name: value for name, value in values.items() if value is not None}
    lines = [as_flag(name, value) + "\n" for name, value in given.items()]
    write_atomically(path, "".join(lines))


def _field_names(settings: type) -> list[str]:
    return [field.name for field in dataclasses.fields(settings)]


def read_paths(*names: str) -> dict[str, Any]:
    """Returns those of these flags that were given, as paths: a list where a flag takes several."""
    given = {name: FLAGS[name].value for name in names if FLAGS[name].value}
    return {
        name: list(map(Path, value)) if isinstance(value, list) else Path(value)
        for name, value in given.items()
    }


def require(*names: str) -> None:
    """Raises InputError if one of these flags was not given."""
    for name in names:
        if FLAGS[name].value is None:
            raise InputError(f"--{name} is needed: {FLAGS[name].help}")


def use_huge_pages() -> None:
    """Starts the command anew with huge pages: see `huge_pages`. Comes before any work."""
    if process.is_command():
        huge_pages.use()


def run(main: Callable[[Any], dict[str, Any]], takes_paths: bool = False, **defaults: Any) -> None:
    """Runs a command: `main` returns its figures, printed as one JSON line, the last on stdout.

    With `takes_paths` what is no flag is a path, and `main` gets their list; otherwise that is a
    mistake, and `main` gets an empty list. What a user can mend ends with one line on standard
    error and exit status 1. `defaults` are of flags that have others here than elsewhere.

    In a process that was not started for the command, such as a notebook's kernel, it raises
    SystemExit where it would end the process, leaves the signals alone, and may be called again.
    """
    usual = {name: FLAGS[name].default for name in defaults}
    parse = functools.partial(_parse_flags, takes_paths=takes_paths)
    try:
        _set_defaults(defaults)
        app.run(lambda argv: _report(main, argv[1:]), flags_parser=parse)
    finally:
        _set_defaults(usual)


def _set_defaults(defaults: dict[str, Any]) -> None:
    for name, value in defaults.items():
        FLAGS.set_default(name, value)


def _parse_flags(argv: list[str], takes_paths: bool) -> list[str]:
    if {"--help", "-help", "-h"}.intersection(argv):
        if process.is_command():
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head` ends without a word
        print(_help(argv[0]))
        sys.exit()
    for flag in _flags_here():  # of a command that ran in this process before
        flag.unparse()
    FLAGS.set_gnu_getopt(True)  # flags may stand after paths
    try:
        command, *rest = FLAGS(argv)
        _refuse_others_flags(argv)
    except flags.Error as error:
        _fail(str(error).removeprefix("ERROR:: "))
    except (ValueError, RecursionError) as error:  # absl lets them through
        _fail(f"a flag or the file of --flagfile is broken: {error}")
    if rest and not takes_paths:
        _fail(f"{rest[0]!r} is not a flag; flags look like --name=value")
    return [command, *map(os.path.expanduser, rest)]


def _refuse_others_flags(argv: list[str]) -> None:
    """Raises flags.Error if a flag was typed that the command does not read.

    Those of a flagfile may be any command's.
    """
    own = {flag.name for flag in FLAGS.get_key_flags_for_module(argv[0])}
    others = {flag.name for flag in _flags_here()} - own
    for argument in argv[1 : argv.index("--") if "--" in argv else None]:
        name = argument.lstrip("-").partition("=")[0]
        if argument.startswith("-") and {name, name.removeprefix("no")} & others:
            raise flags.Error(f"--{name} is another command's flag; --help lists this one's")


def _help(command: str) -> str:
    described, own = sys.modules["__main__"].__doc__ or "", FLAGS.get_key_flags_for_module(command)
    starts = [*_first_flags.values(), None]
    by_subject = {
        title: [flag for flag in _flags_here()[start:end] if flag in own]
        for title, start, end in zip(_first_flags, starts, starts[1:], strict=False)
    }
    used = {title: some for title, some in by_subject.items() if some}
    return command_help(described, used, sys.stdout.isatty())


def _report(main: Callable[[Any], dict[str, Any]], paths: list[str]) -> None:
    _log_plainly()
    if process.is_command():
        interruption.listen()
    try:
        figures = main(paths)
    except KeyboardInterrupt as how_to_go_on:
        _stop(": ".join(filter(None, ["stopped", str(how_to_go_on)])), interruption.STATUS)
    except (InputError, OSError) as error:
        _fail(f"{error}{_hint_at_commas(str(error))}")
    except Exception:
        if interruption.is_asked():  # an import that failed of it with another exception
            _stop("stopped", interruption.STATUS)
        if reason := _why_jax_cannot_start():
            _fail(reason)
        raise
    print(json.dumps(figures), flush=True)


def _why_jax_cannot_start() -> str:
    """Returns what is wrong with the JAX_... of the environment; "" if it is not to blame."""
    given = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("JAX_")]
    try:
        if given:
            import jax

            jax.devices()
    except Exception as error:  # of JAX's plugins for devices
        reason = "".join(str(error).splitlines()[:1]) or "there is no such device"
        return f"JAX does not start with {', '.join(sorted(given))}: {reason}; unset what is wrong"
    return ""


def _hint_at_commas(message: str) -> str:
    """Says, for an error about a file, that it may be a part of a name with a comma in it."""
    for flag in _flags_here():
        if isinstance(flag.parser, _PathsParser) and len(flag.value or ()) > 1:
            missing = [path for path in flag.value if not os.path.exists(path)]
            about = (f"--{flag.name}=", *(f"{path}: " for path in missing))
            if missing and message.startswith(about):
                given = ",".join(flag.value)
                return f" (a comma separates files: --{flag.name}={given} names {len(flag.value)})"
    return ""


def _log_plainly() -> None:
    # A cache that cannot be written to costs time only.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    logging.use_absl_handler()
    logging.get_absl_handler().setFormatter(Formatter("%(message)s"))
    # JAX tells at length which accelerators are not there.
    getLogger("jax").setLevel("WARNING")
    # Keras loads Matplotlib where it is installed, and that tells of its fonts and folders.
    getLogger("matplotlib").setLevel("ERROR")


def _fail(message: str) -> None:
    _stop(f"error: {message}", 1)


def _stop(message: str, status: int) -> None:
    """Ends the command with one line, however long a name that it quotes from a file may be."""
    end_bars()
    line = " ".join(message.split())
    if len(line) > _LONGEST_MESSAGE:
        line = f"{line[: _LONGEST_MESSAGE // 2]} ... {line[-_LONGEST_MESSAGE // 2 :]}"
    print(line, file=sys.stderr, flush=True)
    sys.stdout.flush()
    if process.is_command():
        # Not sys.exit: a tf.data thread that is amid a NumPy function blocks the interpreter's end.
        os._exit(status)
    raise SystemExit(status) from None
