"""Writes a trained model in a format that other programs run, and checks that they run it alike.

--out becomes a folder with landmarks.json and the network, batch normalisation folded (except in
safetensors, from which a training can start):

    onnx         model.onnx       ONNX Runtime, OpenCV, browsers; any batch
    litert       model.tflite     LiteRT (TensorFlow Lite) on phones, small boards; one image a call
    safetensors  model.safetensors
                                  this package: one file for --workdir and --init_weights
    stablehlo    model.stablehlo  JAX without Keras (jax.export) on CPU, CUDA, ROCm, TPU; any batch
    saved_model  saved_model/     TensorFlow, TF Serving; any batch
    keras        model.keras      Keras on any backend, without this package; any batch

The model is --workdir's, or @faces, the one that is part of the package. Examples:

    pip install -e ".[export]"    # runtimes of ONNX and LiteRT; the other formats need nothing
    python -m keras_landmarks.export --workdir=work --format=onnx --out=exported
    python -m keras_landmarks.export --workdir=work --format=litert --export_precision=int8 \\
        --data=contest --out=phone

CHECK. The format's own runtime runs the written file on faces of --data's training images, or on
synthetic ones, and the results say how far its points are from the model's. A float32 file that is
off by more than 0.05 px is an error, and nothing is left behind.

INPUT AND OUTPUT. Every format takes pixels of 0 to 255 and gives points in pixels of the input,
called `image` and `landmarks` where the format has names. landmarks.json says, in numbers and in
words, the input's size, framing and normalisation, the way back to the photo, the mirror map and
regions (it can be used as a --layout), whether there is a variance, where in the input a face's
points usually lie, and how to cut a face out of a larger photo. An ONNX file has it among its
metadata, too.

PRECISION. --export_precision=float16 halves the weights of onnx, litert and safetensors; computing
stays float32. int8 quarters them: in litert the weights of the file, in onnx what convolutions
compute as well, with ranges from the training images of --data, which must be the model's own; its
difference is measured on other images than the ranges. ResNet18 of half the width at 96 x 128 px
(flags/light.cfg --loss=nll, with AdamW) trained on 1,796 photos; one core of a shared Intel Xeon,
median of 16:

    onnx       file       largest and mean difference    time
    float32    14.6 MB    0.00001, 0.0000015 px          2.9 ms
    float16     7.3 MB    0.009, 0.002 px                2.4 ms
    int8        4.6 MB    0.22, 0.06 px                  1.6 ms

    litert     file       largest and mean difference    time
    float32    14.6 MB    0.0001, 0.00002 px             3.6 ms
    float16     7.3 MB    0.039, 0.014 px                3.6 ms
    int8        3.7 MB    0.34, 0.07 px                  2.3 ms

The other networks are as near in float32, grouped convolutions and Keras's two light networks among
them; EfficientNetV2 is slower in onnx's int8 than in float32.
"""

from pathlib import Path

from keras_landmarks import flags
from keras_landmarks.models.packaged import FACES, output_folder
from keras_landmarks.utils import runtime

FLAGS = flags.use(
    *("workdir", "out", "format", "export_precision", "data", "layout", "compilation_cache")
)


def main(_) -> dict:
    """Exports the model and returns the results."""
    runtime.use_compilation_cache(FLAGS.compilation_cache)
    # Not at the top, so that --help needs no Keras.
    from keras_landmarks.exporting.exporter import export

    return export(
        FLAGS.workdir,
        Path(FLAGS.out) if FLAGS.out else output_folder(FLAGS.workdir) / _default_name(),
        FLAGS.format,
        FLAGS.export_precision,
        **flags.read_paths("data", "layout"),
    )


def _default_name() -> str:
    """Returns the name of the folder to write, such as onnx or onnx_int8."""
    precision = FLAGS.export_precision
    return FLAGS.format if precision == "float32" else f"{FLAGS.format}_{precision}"


if __name__ == "__main__":
    flags.run(main, workdir=FACES)
