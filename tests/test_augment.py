from pathlib import Path

from folders import contents

from keras_landmarks.input.extra_images import ExtraImageSpec, make_extra_images
from keras_landmarks.input.samples import load_samples


def test_command_makes_the_images(run, faces, tmp_path):
    prepared = tmp_path / "prepared"
    flags = [f"--data={faces}", f"--prepared={prepared}", "--augment_count=10", "--processes=1"]
    results = run("augment", *flags).results
    (folder,) = prepared.glob("augmented-*")
    assert results["folder"] == str(folder)
    assert results["rejected"] == 0
    images = contents(folder / "train")
    assert results["written"] == len(images) - 1
    samples = load_samples(faces, "train", tmp_path)
    made = make_extra_images(samples, tmp_path, ExtraImageSpec(count=10), processes=1)
    assert images == contents(Path(made["folder"]) / "train")
