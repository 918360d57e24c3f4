"""Every setting, once: its name, type, default, help text, choices and bounds.

Settings are grouped by subject in small frozen dataclasses. A field is a flag of the same name
(`flags.py` defines it from the field), a line of a flagfile, an entry of --help, the default in
Python and, for a training, an entry of the record in the work directory. The first line of a
group's docstring is its title in --help.

A command reads whole groups or single settings. `TrainSettings` joins the groups of a training.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_landmarks.utils import runtime

MODELS = (
    *("tiny", "resnet18_half", "resnet18", "resnet34", "resnet50", "resnext50_32x4d"),
    *("resnet101", "resnext101_32x8d", "mobilenet_v3_large", "efficientnet_v2_b0"),
)
FRAMINGS = ("crop", "stretch", "pad")
AUGMENTATIONS = (
    *("turn", "affine", "misplace", "colour", "blur", "degrade", "coarse_dropout", "mirror"),
)
TTA = ("none", "mirror", "crops", "mirror,crops")
EXPORT_FORMATS = ("onnx", "litert", "safetensors", "stablehlo", "saved_model", "keras")
TABLES_ALONE = "csv"
ANNOTATION_FORMATS = ("coco", "labelme", "label_studio")
POINT_UNITS = ("auto", "pixel", "share", "percent")
FIRST_STAGE = "first"  # the folder of the training of --first_epochs in the work directory
_LEAST_SIDE_PX = 32  # the networks halve their input five times

# Settings that had other names in earlier versions.
RENAMED = {
    "accumulate": "grad_accum_steps",
    "clip_norm": "grad_clip_norm",
    "refine": "two_pass",
}
RENAMED_AUGMENTATIONS = {"cut_out": "coarse_dropout"}


def setting(default: Any, help: str, **rules: Any) -> Any:
    """Returns a dataclass field for one setting.

    Args:
        default: the value unless another is given; None where there is none.
        help: what the setting means, for --help.
        **rules: any of
            choices: the values that are allowed.
            low, high: the bounds of a number, both allowed themselves.
            kind: for a string `path`, `folder` (a path that may not be a file), `model` (a folder,
                a .safetensors file or a name) or `path_or_word` (a path, or a word with a meaning
                of its own); for a tuple `paths`.
            check: a function that raises ValueError for a value that is not allowed.
    """
    return dataclasses.field(default=default, metadata={"help": help, **rules})


def shared(group: type, name: str, **other_default: Any) -> Any:
    """Returns a field for a setting that belongs to another group and is read here as well.

    Args:
        group: the group that the setting belongs to.
        name: its name.
        **other_default: `default`, if it is another one here.
    """
    (field,) = (field for field in dataclasses.fields(group) if field.name == name)
    return dataclasses.field(**{"default": field.default} | other_default, metadata=field.metadata)


# ── values with a form of their own ──


def parse_size(text: str) -> tuple[int, int]:
    """Returns the width and height in pixels of "128x160", or of "128", which is a square.

    Raises:
        ValueError: the text is neither, or a side is shorter than 32 px.
    """
    if found := re.fullmatch(r"([0-9]{1,4})(?:x([0-9]{1,4}))?", str(text)):
        width, height = int(found[1]), int(found[2] or found[1])
        if min(width, height) >= _LEAST_SIDE_PX:
            return width, height
    raise ValueError(
        f"{text} is not a size such as 128 or 128x160 with sides of {_LEAST_SIDE_PX} px or more"
    )


def parse_fold(text: str) -> tuple[int, int]:
    """Returns 2 and 5 for "2/5", the second of five folds; ValueError for any other text."""
    if found := re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", text):
        fold, folds = int(found[1]), int(found[2])
        if folds > 1 and 1 <= fold <= folds:
            return fold, folds
    raise ValueError(f"{text} is not a fold such as 2/5, the second of five")


def parse_normaliser(text: str) -> tuple[str, Any]:
    """Returns the kind of a normaliser and what it is made of.

    That is ("box", None), ("diagonal", None), ("points", ((36, 36), (45, 45))), the first and last
    point of two ranges, for "points:36,45" ("points:36-41,42-47" has longer ones), or
    ("size", "COLUMN") for "size:COLUMN".

    Raises:
        ValueError: the text is none of them.
    """
    kind, _, argument = text.partition(":")
    if text in ("box", "diagonal"):
        return text, None
    if kind == "size" and argument.strip():
        return kind, argument.strip()
    ends = "([0-9]{1,6})(?:-([0-9]{1,6}))?"
    if kind == "points" and (found := re.fullmatch(f"{ends},{ends}", argument)):
        ranges = tuple((int(found[n]), int(found[n + 1] or found[n])) for n in (1, 3))
        if ranges[0] != ranges[1] and all(start <= end for start, end in ranges):
            return kind, ranges
    raise ValueError(
        f"{text!r} is none of box, diagonal, points:36,45 (two points, counted from 0),"
        " points:36-41,42-47 (the middles of two ranges) and size:COLUMN"
    )


def parse_thresholds(texts: Sequence[str]) -> list[float]:
    """Returns the distinct thresholds of ("0.08", "0.1"), fractions of the normaliser.

    Raises:
        ValueError: there is none, or one is not a number above 0 and at most 1.
    """
    thresholds = []
    for text in texts:
        if not re.fullmatch(r"[0-9]*\.?[0-9]+", text) or not 0 < float(text) <= 1:
            raise ValueError(f"{text!r} is not a fraction of the normaliser, such as 0.08 for 8 %")
        thresholds.append(float(text))
    if not thresholds:
        raise ValueError("it is empty; give thresholds such as 0.08,0.1")
    return list(dict.fromkeys(thresholds))


def _check_augmentations(kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        if kind in RENAMED_AUGMENTATIONS:
            raise ValueError(f"{kind!r} is now {RENAMED_AUGMENTATIONS[kind]!r}")
        if kind not in AUGMENTATIONS:
            raise ValueError(f"{kind!r} is none of {', '.join(AUGMENTATIONS)}")


# ── the groups of a training ──


@dataclass(frozen=True)
class FileSettings:
    """Files and folders"""

    data: str | None = setting(
        None,
        "Folder in the contest's form: train/ and test/, each with images/ and a table.",
        kind="folder",
    )
    prepared: str = setting(
        "prepared",
        "Folder for everything that is made from --data, which itself is never written to.",
        kind="folder",
    )
    workdir: str = setting(
        "work",
        "Folder of one training run: weights, history, logs. Commands that predict also take"
        " @faces, the model that is part of the package, or a model in one .safetensors file.",
        kind="model",
    )


@dataclass(frozen=True)
class SplitSettings:
    """Which images to train and validate on"""

    train_fraction: float = setting(
        0.995,
        "Train on this fraction of the rows, from the first one; validate on the rest.",
        low=0.0,
        high=1.0,
    )
    validation_groups: tuple[str, ...] = setting(
        (),
        "Table of file_name and group: no group is in both training and validation. Several"
        " tables, separated by commas, are joined: images that any table puts together stay"
        " together.",
        kind="paths",
    )
    fold: str | None = setting(
        None,
        "Validate on one fold, such as 2/5, instead of the last rows; groups stay whole.",
        check=parse_fold,
    )
    exclude: str | None = setting(
        None,
        "Table whose column file_name lists images to leave out of training and validation.",
        kind="path",
    )
    limit: int | None = setting(None, "Use only this many rows, from the first one.", low=1)
    strict: bool = setting(False, "Stop at the first invalid sample instead of skipping it.")


@dataclass(frozen=True)
class CropSettings:
    """The network's input"""

    image_size: str = setting(
        "128",
        "Input size of the network in px: the side of a square, or width x height as in 128x160.",
        check=parse_size,
    )
    framing: str = setting(
        "crop",
        "How a photo fills the input. crop: cut out its middle; stretch: scale both sides"
        " independently; pad: add black borders.",
        choices=FRAMINGS,
    )
    trim_bands: bool = setting(False, "Cut black bands off the edges of the photos first.")
    prepare: bool = setting(
        True,
        "Decode and crop every image once and keep the crops under --prepared. With --noprepare"
        " the images are decoded anew in every epoch.",
    )


@dataclass(frozen=True)
class NetworkSettings:
    """The network"""

    model: str = setting("resnext50_32x4d", "Network.", choices=MODELS)
    init_weights: str = setting(
        "imagenet",
        "Initial weights: imagenet, none (random), @faces (the package's model of faces), a"
        " .safetensors file, or an earlier work directory.",
        kind="path_or_word",
    )
    head: str = setting(
        "linear",
        "Last layer. linear: every coordinate by itself; shape: coefficients of the principal"
        " components of the training shapes.",
        choices=("linear", "shape"),
    )
    shape_components: int = setting(120, "Number of components of --head=shape.", low=1)
    normalisation: str = setting(
        "half",
        "Normalisation of pixels scaled to 0..1. half: (x - 0.5) / 0.5; imagenet: by ImageNet's"
        " mean and standard deviation.",
        choices=("half", "imagenet"),
    )
    precision: str = setting(
        "float32",
        "Precision of the layers; the head always computes in float32.",
        choices=("float32", "mixed_bfloat16"),
    )


@dataclass(frozen=True)
class LossSettings:
    """The loss"""

    loss: str = setting(
        "mse",
        "Training loss per image. rms: sqrt(MSE); log_mse: log(1 + MSE); nll: Gaussian negative"
        " log-likelihood with a predicted variance per point.",
        choices=("mse", "l1", "smooth_l1", "wing", "rms", "log_mse", "nll"),
    )
    loss_unit: str = setting(
        "crop",
        "Compute the loss in pixels of the crop or of the photo; the contest scores the photo's.",
        choices=("crop", "photo"),
    )
    teacher: str | None = setting(
        None,
        "Predictions of the training images by a better model, from `predict --split=train"
        " --predictions`: train on the mean of each label and its prediction.",
        kind="path",
    )


@dataclass(frozen=True)
class OptimizerSettings:
    """The optimiser"""

    optimizer: str = setting(
        "adam",
        "adam: with AMSGrad; adamw: decoupled weight decay; muon: orthogonal updates of the kernels"
        " of convolutions, adamw for the rest; sgd: with Nesterov momentum.",
        choices=("adam", "adamw", "muon", "sgd"),
    )
    weight_decay: float = setting(0.05, "Weight decay of adamw, muon and sgd.", low=0.0)
    grad_clip_norm: float = setting(
        0.0, "Clip the global norm of the gradient to this; 0: no clipping.", low=0.0
    )
    grad_accum_steps: int = setting(
        1, "Accumulate the gradients of this many steps for one update of the weights.", low=1
    )
    reset_optimizer_each_epoch: bool = setting(
        True,
        "With --schedule=steps: reset the optimiser's moments at the start of every epoch.",
    )
    ema_momentum: float = setting(
        0.0,
        "Keep an exponential moving average of the weights with this momentum and predict with"
        " it; 0: no average.",
        low=0.0,
        high=1.0,
    )
    average_last_epochs: int = setting(
        0,
        "Predict with the mean of the weights after this many last epochs (SWA), up to the one with"
        " the lowest training loss; 0: no mean.",
        low=0,
    )


@dataclass(frozen=True)
class ScheduleSettings:
    """Epochs and learning rates"""

    epochs: int = setting(18, "Number of passes over the training images.", low=1)
    min_epoch_images: int = setting(
        0, "With fewer training images than this, each comes several times in an epoch.", low=0
    )
    schedule: str = setting(
        "steps",
        "steps: --learning_rates by epoch; cosine, restarts, one_cycle: decay from --learning_rate"
        " with every step.",
        choices=("steps", "cosine", "restarts", "one_cycle"),
    )
    learning_rates: str = setting(
        "0:1e-2,5:1e-3,12:1e-4,16:1e-5",
        "Learning rates of --schedule=steps, each with the first epoch, counted from 0, that it"
        " holds for.",
    )
    learning_rate: float = setting(
        1e-3, "Peak learning rate of cosine, restarts and one_cycle.", low=0.0
    )
    warmup_epochs: float = setting(0.0, "Epochs of linear warm-up of cosine.", low=0.0)
    first_cycle_epochs: int = setting(1, "Epochs of the first cycle of restarts.", low=1)
    first_epochs: int = setting(
        0,
        "Before the --epochs, train for this many epochs on smaller crops, and begin with the"
        " weights that result.",
        low=0,
    )
    first_image_size: str | None = setting(
        None,
        "The --image_size of the --first_epochs. Default: half of each side.",
        check=parse_size,
    )


@dataclass(frozen=True)
class AugmentationSettings:
    """Augmentation of images"""

    augment_online: tuple[str, ...] = setting(
        (),
        "Augment every image anew in every epoch; separated by commas, without spaces:"
        f" {', '.join(AUGMENTATIONS)}.",
        check=_check_augmentations,
    )
    rotate_limit: float = setting(20.0, "Rotate by up to +- this many degrees.", low=0.0)
    shift_limit: float = setting(
        0.0625, "Shift by up to +- this fraction of the width and of the height.", low=0.0
    )
    scale_limit: float = setting(0.1, "Scale by a factor of up to 1 +- this.", low=0.0, high=0.99)
    turn_limit: float = setting(
        20.0,
        "--augment_online=turn: turn heads to the left or right by up to this many degrees, and up"
        " or down by up to 0.4 times as many.",
        low=0.0,
        high=45.0,
    )
    mirror: str | None = setting(
        None,
        "Mirror map, which says which point each point becomes in a mirror: contest; found, from"
        " the training faces; a JSON file; none; or auto: that of --data's layout.json, else found,"
        " else none. Default: contest if images are mirrored and faces have its 971 points; for a"
        " prediction the map that the model was trained with.",
        kind="path_or_word",
    )


@dataclass(frozen=True)
class ExtraImageSettings:
    """Extra images, made offline"""

    augment_count: int = setting(
        0, "Number of extra images to make from the first rows; 0: none.", low=0
    )
    augment_refill: bool = setting(
        False, "Replace extra images that lose a point by others from later rows."
    )


@dataclass(frozen=True)
class RunSettings:
    """The run"""

    batch_size: int = setting(
        256, "Images in a batch; in training, over all devices together.", low=1
    )
    seed: int = setting(0, "Random seed.", low=0)
    resume: bool = setting(
        True,
        "Resume from what --workdir holds. --noresume deletes that and starts over.",
    )
    save_every_steps: int = setting(
        500, "Save a checkpoint after this many steps, besides after every epoch.", low=1
    )
    processes: int | None = setting(
        None, "Worker processes. Default: one per usable core, and no more than there is work."
    )


@dataclass(frozen=True)
class ClusterSettings:
    """Several machines"""

    coordinator: str | None = setting(
        None,
        "host:port of process 0 if several processes train together. Not needed where JAX detects"
        " the cluster: Slurm, Open MPI, Kubernetes, Cloud TPU.",
    )
    num_processes: int | None = setting(
        None,
        "Number of processes that train together; 1: train alone, even in a cluster.",
        low=1,
    )
    process_id: int | None = setting(
        None, "Number of this process, from 0. Process 0 writes the work directory.", low=0
    )


@dataclass(frozen=True)
class TrainSettings:
    """All settings that a training depends on, by subject."""

    files: FileSettings = FileSettings()
    split: SplitSettings = SplitSettings()
    crop: CropSettings = CropSettings()
    network: NetworkSettings = NetworkSettings()
    loss: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    extra_images: ExtraImageSettings = ExtraImageSettings()
    run: RunSettings = RunSettings()

    def replace(self, **values: Any) -> "TrainSettings":
        """Returns a copy with other values of single settings, by their flags' names."""
        groups = {}
        for field in dataclasses.fields(self):
            group = getattr(self, field.name)
            own = {name: values.pop(name) for name in names_of(type(group)) if name in values}
            groups[field.name] = dataclasses.replace(group, **own)
        if values:
            raise TypeError(f"no such setting: {', '.join(values)}")
        return type(self)(**groups)

    def by_name(self) -> dict[str, Any]:
        """Returns all values by the names of their flags."""
        groups = (getattr(self, field.name) for field in dataclasses.fields(self))
        return {name: value for group in groups for name, value in vars(group).items()}

    def first_stage(self) -> "TrainSettings | None":
        """Returns the settings of the training of --first_epochs, if there is one."""
        epochs, size = self.schedule.first_epochs, self.schedule.first_image_size
        if not epochs:
            return None
        sides = (max(side // 2, _LEAST_SIDE_PX) for side in parse_size(self.crop.image_size))
        return self.replace(
            workdir=f"{self.files.workdir}/{FIRST_STAGE}",
            image_size=size or "{}x{}".format(*sides),
            epochs=epochs,
            first_epochs=0,
            first_image_size=None,
            warmup_epochs=min(self.schedule.warmup_epochs, epochs / 2),
            average_last_epochs=min(self.optimizer.average_last_epochs, epochs),
            seed=self.run.seed + 1,  # the same one would repeat what is drawn
        )

    @property
    def initial_weights(self) -> str:
        """The value of --init_weights that this stage uses."""
        first = self.first_stage()
        return first.files.workdir if first else self.network.init_weights


# ── settings of other commands ──


@dataclass(frozen=True)
class CompilationSettings:
    """Compilation"""

    compilation_cache: str = setting(
        runtime.DEFAULT_COMPILATION_CACHE,
        "Folder that keeps what XLA compiled for the next start; empty: keep nothing.",
    )


@dataclass(frozen=True)
class BeamSettings:
    """Apache Beam"""

    beam_runner: str | None = setting(
        None,
        "Make crops and extra images on the workers of this Apache Beam runner: DirectRunner,"
        " FlinkRunner, SparkRunner, ... They must see --data and --prepared at the same paths as"
        " this machine.",
    )
    beam_options: str = setting("", "Options of --beam_runner, as on Beam's own command line.")


@dataclass(frozen=True)
class ImageSettings:
    """Images"""

    split: str = setting(
        "test",
        "Folder of --data with images and a table of them: train, test, or another.",
        kind="path",
    )
    only: str | None = setting(
        None,
        "Table whose column file_name lists the only images to predict or score; validation.csv in"
        " --workdir lists the images that were held out.",
        kind="path",
    )


@dataclass(frozen=True)
class PointSettings:
    """Points"""

    truth: str | None = setting(
        None, "Table of the true points, in the form of landmarks.csv.", kind="path"
    )
    test_points: str | None = setting(
        None, "Table of the points that are requested of each image.", kind="path"
    )
    layout: str | None = setting(
        None, "JSON file with the points' names, regions and mirror map.", kind="path"
    )


@dataclass(frozen=True)
class OutputSettings:
    """Output"""

    out: str | None = setting(
        None,
        "Output. A picture, contact_sheet.png by default; for landmarks a folder, found by"
        " default; for export a folder, by default in --workdir.",
        kind="path",
    )
    format: str = setting(
        "onnx",
        "Format. For export: ONNX, LiteRT (TensorFlow Lite), safetensors (one file for --workdir"
        " and --init_weights), StableHLO (JAX), TensorFlow's SavedModel or Keras's own. For"
        " landmarks: tables alone (csv), or also annotations for a labelling program: coco (CVAT"
        " and others), labelme or label_studio.",
        choices=(*EXPORT_FORMATS, TABLES_ALONE, *ANNOTATION_FORMATS),
    )
    html: str | None = setting(
        None, "HTML page to write; by default report.html in --workdir.", kind="path"
    )
    rejects: str | None = setting(
        None, "Table to write of invalid samples: name, row, reason.", kind="path"
    )
    count: int = setting(
        24,
        "Images on the contact sheet. `draw` takes them evenly spaced over the rows,"
        " `find_bad_labels` the worst, `find_duplicates` the least similar pairs.",
        low=1,
    )


@dataclass(frozen=True)
class ConversionSettings:
    """Converting annotations"""

    source: str | None = setting(
        None,
        "Annotations to convert: a file, or a folder with a file for each photo.",
        kind="path",
    )
    source_format: str = setting(
        "auto",
        "Format of --source. auto: by its name and contents.",
        choices=(
            *("auto", "table", "coco", "list", "pts", "ljson", "cvat", "label_studio", "labelme"),
            *("via", "deeplabcut", "sleap"),
        ),
    )
    points_unit: str = setting(
        "auto",
        "Unit of the points in --source: pixel, share (0 to 1 of the photo's width and height) or"
        " percent. auto: pixels, and an error if the points look like another unit.",
        choices=POINT_UNITS,
    )
    photos: str | None = setting(
        None,
        "Folder that the photos' names are relative to. Default: the folder of --source.",
        kind="path",
    )
    face_share: float = setting(
        0.6,
        "Fraction of a crop's width and height that the points take; 0: keep whole photos.",
        low=0.0,
        high=1.0,
    )


@dataclass(frozen=True)
class SynthesisSettings:
    """Synthetic faces"""

    train_images: int = setting(1500, "Number of synthetic training faces.", low=1)
    test_images: int = setting(200, "Number of synthetic test faces.", low=1)


@dataclass(frozen=True)
class PredictionSettings:
    """Predictions"""

    predictions: str | None = setting(
        None, "All points of every image, as .npz without pickle.", kind="path"
    )
    submission: str | None = setting(
        None, "The contest's CSV: the requested points of every image.", kind="path"
    )
    tta: str = setting(
        "none",
        "Test-time augmentation: predict several views of each image and take the mean: mirrored,"
        " shifted and scaled (crops), or both.",
        choices=TTA,
    )
    rounding: str = setting(
        "round",
        "How --submission gets whole numbers. round: to the nearest, halves to the even one (2.5 to"
        " 2, 3.5 to 4); truncate: towards 0.",
        choices=("round", "truncate"),
    )


@dataclass(frozen=True)
class PhotoSettings:
    """Faces in photos and videos"""

    min_score: float = setting(
        0.75, "Minimum score of the face detector, from 0 to 1.", low=0.01, high=0.99
    )
    smallest_face: float = setting(
        0.03,
        "Width of the smallest face to detect, as a fraction of the photo's longer side; half of it"
        " makes detection take four times as long.",
        low=0.001,
        high=0.99,
    )
    two_pass: bool = setting(
        True,
        "Crop each face a second time, around the points of the first pass; in `predict`, faces"
        " that are off their usual place in the photo.",
    )
    names: bool = setting(
        True,
        "Head the points' columns with their names, if the model knows these; --nonames: with their"
        " numbers.",
    )
    draw: bool = setting(True, "Write each photo or video with its points drawn on it.")
    smooth: bool = setting(False, "Smooth the points of videos over time with a one-euro filter.")
    min_cutoff: float = setting(
        1.0,
        "Cutoff frequency of --smooth for points at rest, in Hz; lower is smoother.",
        low=0.001,
    )
    beta: float = setting(
        30.0,
        "Rise of the cutoff of --smooth, in Hz at a speed of one face size a second; higher lags"
        " less.",
        low=0.0,
    )


@dataclass(frozen=True)
class PredictSettings:
    """How `predict` predicts the images of a split."""

    batch_size: int = shared(RunSettings, "batch_size")
    tta: str = shared(PredictionSettings, "tta")
    mirror: str | None = shared(AugmentationSettings, "mirror")
    rounding: str = shared(PredictionSettings, "rounding")
    two_pass: bool = shared(PhotoSettings, "two_pass", default=False)
    strict: bool = shared(SplitSettings, "strict")


@dataclass(frozen=True)
class LandmarksSettings:
    """How `landmarks` detects faces, predicts their points and draws them."""

    data: str | None = shared(FileSettings, "data")
    tta: str = shared(PredictionSettings, "tta")
    mirror: str | None = shared(AugmentationSettings, "mirror")
    min_score: float = shared(PhotoSettings, "min_score")
    smallest_face: float = shared(PhotoSettings, "smallest_face")
    two_pass: bool = shared(PhotoSettings, "two_pass")
    format: str = shared(OutputSettings, "format", default=TABLES_ALONE)
    names: bool = shared(PhotoSettings, "names")
    draw: bool = shared(PhotoSettings, "draw")
    smooth: bool = shared(PhotoSettings, "smooth")
    min_cutoff: float = shared(PhotoSettings, "min_cutoff")
    beta: float = shared(PhotoSettings, "beta")


@dataclass(frozen=True)
class ExportSettings:
    """Export"""

    export_precision: str = setting(
        "float32",
        "Precision of the exported weights; float16, which makes smaller files, is for onnx,"
        " litert and safetensors, int8 for the first two.",
        choices=("float32", "float16", "int8"),
    )


@dataclass(frozen=True)
class ScoringSettings:
    """Scoring"""

    groups: tuple[str, ...] = setting(
        (),
        "Table of file_name and group: similar images, such as one person's, that are resampled"
        " together for confidence intervals. Several, separated by commas, are joined.",
        kind="paths",
    )
    partial: bool = setting(
        False, "Score the images that are predicted even if they are not all of --truth."
    )
    compare: tuple[str, ...] = setting(
        (),
        "Two predictions or submissions, separated by a comma, to test which is better.",
        kind="paths",
    )


@dataclass(frozen=True)
class FigureSettings:
    """Figures to compare with papers"""

    normaliser: str = setting(
        "box",
        "What NME is divided by. box: sqrt(width x height) of the box around the true points;"
        " diagonal: the diagonal of that box; points:36,45: the distance between two true points,"
        " counted from 0, or between the middles of two ranges, points:36-41,42-47; size:COLUMN: a"
        " column of --truth, in px.",
        check=parse_normaliser,
    )
    threshold: tuple[str, ...] = setting(
        ("0.07",),
        "Fractions of the normaliser, separated by commas: the area under the curve up to each, the"
        " share of images over it, and the share of points within it (PCK).",
        check=parse_thresholds,
    )
    by_point: bool = setting(False, "Add a row for each point, with its name.")


@dataclass(frozen=True)
class EnsembleSettings:
    """Ensembles"""

    inputs: tuple[str, ...] = setting(
        (),
        "Predictions (.npz) or submissions to combine, separated by commas.",
        kind="paths",
    )
    combine: str = setting(
        "mean",
        "How to combine; the weights of `weights` are given by --weights or fitted.",
        choices=("mean", "median", "weights"),
    )
    weights: tuple[str, ...] = setting(
        (), "One weight for each of --inputs, separated by commas, none below 0, sum 1."
    )
    held_out: tuple[str, ...] = setting(
        (),
        "Predictions by the same models, in the same order, of images in --truth, to fit the"
        " weights on.",
        kind="paths",
    )


@dataclass(frozen=True)
class CrossValidationSettings:
    """Cross-validation"""

    folds: int = setting(5, "Number of folds of a cross-validation.", low=2, high=999)


@dataclass(frozen=True)
class CleaningSettings:
    """Cleaning data"""

    splits: tuple[str, ...] = setting(
        ("train", "test"), "Folders of --data to look for duplicates in."
    )
    duplicates: str = setting(
        "duplicates",
        "Folder for the tables and the picture of the duplicates found.",
        kind="folder",
    )
    suspects: str = setting(
        "suspects.tsv",
        "Table to write of labels that may be wrong; --exclude takes it.",
        kind="path",
    )


@dataclass(frozen=True)
class BenchmarkSettings:
    """Measuring"""

    stages: tuple[str, ...] = setting((), "Stages to measure, separated by commas; by default all.")
    seconds: float = setting(
        15.0, "Measure each rate for this many seconds or a little longer.", low=0.0
    )


TRAINING_GROUPS = tuple(
    type(getattr(TrainSettings, f.name)) for f in dataclasses.fields(TrainSettings)
)
GROUPS = (
    FileSettings,
    ImageSettings,
    PointSettings,
    OutputSettings,
    ConversionSettings,
    SynthesisSettings,
    SplitSettings,
    CropSettings,
    NetworkSettings,
    LossSettings,
    OptimizerSettings,
    ScheduleSettings,
    AugmentationSettings,
    ExtraImageSettings,
    RunSettings,
    CompilationSettings,
    ClusterSettings,
    BeamSettings,
    CrossValidationSettings,
    PredictionSettings,
    ScoringSettings,
    FigureSettings,
    EnsembleSettings,
    PhotoSettings,
    ExportSettings,
    CleaningSettings,
    BenchmarkSettings,
)


def names_of(group: type) -> list[str]:
    """Returns the names of a group's settings; of TrainSettings, those of all its groups."""
    if group is TrainSettings:
        return [name for part in TRAINING_GROUPS for name in names_of(part)]
    return [field.name for field in dataclasses.fields(group)]


# ── what may differ when a training resumes ──

# The settings that may differ between the starts of one training, and why.
_MAY_CHANGE = {
    # Where files lie and how the work is done: the result is the same.
    *("data", "prepared", "prepare", "workdir", "processes", "strict"),
    *("save_every_steps", "resume"),
    # How long to train and at which rate: the user may change them between starts.
    *("epochs", "learning_rates", "learning_rate"),
    # Which images and labels: the checkpoint holds the fingerprint of the training images.
    *("limit", "train_fraction", "fold", "validation_groups", "exclude", "teacher"),
    # The network and its mirror map: model.json holds them.
    *("model", "image_size", "framing", "trim_bands", "normalisation", "head", "shape_components"),
    "mirror",
}


def fixed_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings that every start of a training must repeat, by name.

    They decide what the weights begin with, what a step does to them, or what the loss means by
    which the best weights are kept. All others are in `_MAY_CHANGE`. A setting that has no effect
    together with the others, such as --warmup_epochs with --schedule=steps, is left out.

    Args:
        values: all settings of a training, from `TrainSettings.by_name`.
    """
    fixed = {name: value for name, value in values.items() if name not in _MAY_CHANGE}
    fixed["augment_online"] = sorted(set(values["augment_online"]))  # in any order
    moves_images = values["augment_count"] or "affine" in values["augment_online"]
    has_effect = {
        "weight_decay": values["optimizer"] != "adam",
        "warmup_epochs": values["schedule"] == "cosine",
        "first_cycle_epochs": values["schedule"] == "restarts",
        "reset_optimizer_each_epoch": values["schedule"] == "steps",
        "augment_refill": values["augment_count"],
        "turn_limit": "turn" in values["augment_online"],
        "first_image_size": values["first_epochs"],
        **dict.fromkeys(["rotate_limit", "shift_limit", "scale_limit"], moves_images),
    }
    # The epochs whose weights are averaged are counted from the end.
    if values["average_last_epochs"]:
        fixed["epochs"] = values["epochs"]
    return {name: value for name, value in fixed.items() if has_effect.get(name, True)}


def with_new_names(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings that an earlier version recorded under the names that they have now."""
    values = {RENAMED.get(name, name): value for name, value in recorded.items()}
    if "augment_online" in values:
        kinds = (RENAMED_AUGMENTATIONS.get(kind, kind) for kind in values["augment_online"])
        values["augment_online"] = sorted(kinds)
    return values


def as_flag(name: str, value: Any) -> str:
    """Returns a setting as it is typed: --epochs=18, --noresume."""
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    if isinstance(value, (list, tuple)):
        value = ",".join(value)
    return f"--{name}={value}"
