"""The page in a real browser, and its framing under Node, beside Python's."""

import base64
import dataclasses
import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from browser import chromium, needs_chromium

from keras_landmarks.data import contest, image_files
from keras_landmarks.data.geometry import Frame, to_crop
from keras_landmarks.export import export
from keras_landmarks.models.pretrained import BEST_WEIGHTS
from keras_landmarks.models.spec import ModelSpec, claim_workdir, load_trained
from keras_landmarks.predict import predict

WEB = Path(__file__).parent.parent / "web"
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
needs_npm = pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed")


def smooth_photo(rng, width, height):
    photo = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 1.2)
    return cv2.normalize(photo, None, 0, 255, cv2.NORM_MINMAX)


@needs_node
def test_framing_is_pythons_to_a_step_of_brightness(tmp_path):
    """Smaller, larger, equal, by whole factors, one side only; with bands and without."""
    rng = np.random.default_rng(0)
    sizes = [(64, 64), (128, 128), (37, 51), (300, 225), (63, 200), (96, 64), (150, 40)]
    frames = [
        Frame(*size, framing, trim_bands)
        for size, framing, trim_bands in itertools.product(
            [(64, 64), (48, 64)], ["crop", "stretch", "pad"], [False, True]
        )
    ]
    jobs, expected = [], []
    for number, (size, frame) in enumerate(itertools.product(sizes, frames)):
        photo = smooth_photo(rng, *size)
        if frame.trim_bands:
            photo[: len(photo) // 8], photo[:, -(size[0] // 7) :] = 9, 0
        files = {"photo": tmp_path / f"{number}.photo", "input": tmp_path / f"{number}.input"}
        files["photo"].write_bytes(photo.tobytes())
        names = {name: str(path) for name, path in files.items()}
        photo_size = {"width": size[0], "height": size[1]}
        jobs.append({**names, **photo_size, "frame": dataclasses.asdict(frame)})
        expected.append(frame.apply(photo))
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    script = ["node", Path(__file__).with_name("frame.mjs"), tmp_path / "jobs.json"]
    framings = json.loads(subprocess.run(script, capture_output=True, check=True).stdout)
    for job, framed, (crop, framing) in zip(jobs, framings, expected, strict=True):
        got = np.fromfile(job["input"], np.uint8).reshape(crop.shape).astype(int)
        off = np.abs(got - crop)
        assert off.max() <= 2, job
        assert off.mean() < 0.2, job
        np.testing.assert_allclose(framed["scale"], framing.scale)
        np.testing.assert_allclose(framed["offset"], framing.offset)


@needs_node
def test_the_next_box_has_the_face_where_faces_lie_as_a_rule():
    """A face 40 x 20 px about (100, 50); faces fill the upper left quarter of a 64 x 32 input."""
    script = """
        import { nextBox } from "./tracking.js";
        const frame = {width: 64, height: 32, face_box: [0, 0, 0.5, 0.5]};
        const earlier = {left: 0, top: 0, right: 100, bottom: 100};
        const box = (sigmas, picture) => nextBox(
            {points: [80, 40, 120, 60, 100, 50], sigmas}, picture, frame, earlier);
        const large = {width: 200, height: 100};
        console.log(JSON.stringify([
            box(null, large), box([9, 0.1, 1], large), box([9, 9, 9], large),
            box(null, {width: 90, height: 100}), box(null, {width: 2000, height: 1000}),
        ]));
    """
    command = ["node", "--input-type=module", "-e", script]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=True)
    sure, surer, unsure, outside, small = json.loads(done.stdout)
    # All of it 80 x 40 from (80, 40) on; 0.6 of the way there from the box before.
    expected = {"left": 48.0, "top": 24.0, "right": 136.0, "bottom": 88.0}
    assert sure == surer == pytest.approx(expected)
    assert (unsure, outside, small) == (None, None, None)


needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@needs_make
@needs_npm
def test_make_page_says_that_a_work_directory_has_no_model():
    done = subprocess.run(
        ["make", "page", "WORKDIR=nope"],
        cwd=WEB.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "nope holds no model (nope/model.json)" in done.stderr
    assert done.stdout == ""


@needs_make
def test_make_page_says_that_it_needs_node():
    make = shutil.which("make")
    done = subprocess.run(
        [make, "page"],
        cwd=WEB.parent,
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "needs Node" in done.stderr


@pytest.fixture(scope="module")
def unsure_run(faces, tmp_path_factory):
    """A model that says the mean shape, a little varied, and how sure it is."""
    keras.utils.set_random_seed(0)
    spec = ModelSpec("tiny", 971, "48x64", "pad", uncertainty=True)
    model = spec.build()
    photo = image_files.read_image(faces / "train" / "images", "face_000000.jpg")
    table = contest.read_landmarks(faces / "train" / "landmarks.csv")
    shape = to_crop(table.points[0], spec.frame.apply(photo)[1])
    for name, bias, spread in [("fc", shape.ravel(), 0.5), ("log_variance", -1.5, 0.2)]:
        kernel, zeros = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([spread * kernel, zeros + bias])
    workdir = tmp_path_factory.mktemp("unsure")
    claim_workdir(workdir, spec)
    model.save_weights(workdir / BEST_WEIGHTS)
    return workdir


@pytest.fixture(scope="module")
def predictions(unsure_run, faces, tmp_path_factory):
    """What Python predicts of the test photos."""
    folder = tmp_path_factory.mktemp("predictions")
    predict(unsure_run, faces, "test", folder / "s.csv", folder / "p.npz")
    return dict(np.load(folder / "p.npz"))


@pytest.fixture(scope="module")
def browser(unsure_run, faces, tmp_path_factory):
    """A browser with the page, opened from disk, and a camera that shows a test photo."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("page")
    if not (WEB / "node_modules").exists():
        subprocess.run(["npm", "ci"], cwd=WEB, check=True)
    export(unsure_run, folder / "exported", "onnx")
    build = ["node", WEB / "build.mjs", folder / "exported", folder / "index.html"]
    subprocess.run(build, cwd=folder, check=True)
    photo = image_files.read_image(faces / "test" / "images", "face_000000.jpg")
    frame = image_files.encode_jpeg(cv2.resize(photo, (240, 320)))
    (folder / "camera.mjpeg").write_bytes(3 * frame)
    camera = [
        *["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"],
        f"--use-file-for-fake-video-capture={folder / 'camera.mjpeg'}",
    ]
    with chromium(*camera) as browser:
        browser.open(f"file://{folder / 'index.html'}", 900, 900)
        wait(browser, "return document.body.dataset.state === 'ready'")
        yield browser


def wait(browser, script):
    """Returns what a script in the page returns, once it is something."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if value := browser.run(script):
            return value
        time.sleep(0.05)
    raise AssertionError(f"{script}: {status(browser)!r} {browser.messages()}")


def status(browser):
    return browser.run("return document.getElementById('status').textContent")


def drop(browser, name, content):
    script = """
        const bytes = Uint8Array.from(atob(arguments[1]), (c) => c.charCodeAt(0));
        const dropped = new DataTransfer();
        dropped.items.add(new File([bytes], arguments[0]));
        globalThis.landmarks = null;
        document.body.dispatchEvent(
            new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
    """
    browser.run(script, name, base64.b64encode(content).decode())


def points_of(found):
    return np.reshape(found["points"], (-1, 2))


@needs_chromium
@needs_npm
class TestPage:
    @pytest.mark.parametrize("row", [0, 3, 5])
    def test_points_of_a_dropped_photo_are_pythons_to_a_pixel(
        self, browser, predictions, faces, row
    ):
        name = str(predictions["file_names"][row])
        drop(browser, name, (faces / "test" / "images" / name).read_bytes())
        found = wait(browser, "return globalThis.landmarks")
        expected = predictions["landmarks"][row]
        assert np.abs(points_of(found) - expected).max() < 1
        np.testing.assert_allclose(found["sigmas"], predictions["sigmas"][row], rtol=0.05)
        wait(browser, f"return document.getElementById('status').textContent.startsWith('{name}')")
        assert "A point is off by ±" in status(browser)

    def test_in_a_box_that_is_drawn_they_are_pythons_of_that_part(self, browser, unsure_run, faces):
        folder, name = faces / "test" / "images", "face_000001.jpg"
        drop(browser, name, (folder / name).read_bytes())
        wait(browser, "return globalThis.landmarks")
        script = """
            globalThis.landmarks = null;
            const canvas = document.getElementById("picture");
            const { left, top, width, height } = canvas.getBoundingClientRect();
            const at = (x, y) => ({pointerId: 1, clientX: left + x * width,
                                   clientY: top + y * height});
            canvas.setPointerCapture = () => {};
            canvas.dispatchEvent(new PointerEvent("pointerdown", at(0.1, 0.2)));
            canvas.dispatchEvent(new PointerEvent("pointermove", at(0.5, 0.5)));
            canvas.dispatchEvent(new PointerEvent("pointerup", at(0.9, 0.8)));
        """
        browser.run(script)
        found = wait(browser, "return globalThis.landmarks")
        box, photo = found["box"], image_files.read_image(folder, name)
        assert abs(box["left"] - 0.1 * photo.shape[1]) <= 1
        assert abs(box["bottom"] - 0.8 * photo.shape[0]) <= 1
        spec, model = load_trained(unsure_run)
        part = photo[box["top"] : box["bottom"], box["left"] : box["right"]]
        crop, (scale, offset) = spec.frame.apply(part)
        predicted = model.predict_on_batch(crop[None])[0, :, :2]
        expected = (predicted - offset) / scale + [box["left"], box["top"]]
        assert np.abs(points_of(found) - expected).max() < 1

    def test_a_file_that_is_no_picture_is_told(self, browser):
        drop(browser, "notes.txt", b"no picture")
        wait(browser, "return document.getElementById('status').textContent.includes('notes.txt')")
        assert "is not a picture" in status(browser)

    def test_the_camera_shows_points_that_follow_the_face(self, browser):
        browser.run("globalThis.landmarks = null; document.getElementById('camera').click()")
        wait(browser, "return globalThis.landmarks?.frames > 10")
        found = browser.run("return globalThis.landmarks")
        points, box = points_of(found), found["box"]
        assert found["width"] == 240
        # The model says much the same shape wherever it looks, so the box stays as it began: 0.9 of
        # the picture.
        assert abs(box["right"] - box["left"] - 0.9 * 240) < 24
        assert abs(box["bottom"] - box["top"] - 0.9 * 320) < 32
        assert np.all(
            (points > [box["left"], box["top"]]) & (points < [box["right"], box["bottom"]])
        )
        assert "Lost" not in status(browser)
        assert "frames a second" in status(browser)
        browser.run("document.getElementById('camera').click()")
        frames = browser.run("return globalThis.landmarks.frames")
        time.sleep(0.3)
        assert browser.run("return globalThis.landmarks.frames") <= frames + 1

    def test_colours_show_regions_or_confidence(self, browser, faces):
        content = (faces / "test" / "images" / "face_000002.jpg").read_bytes()
        drop(browser, "face.jpg", content)
        wait(browser, "return document.getElementById('status').textContent.startsWith('face.jpg')")
        picture = "return document.getElementById('picture').toDataURL()"
        by_region = browser.run(picture)
        browser.run("document.getElementById('confidence').click()")
        by_confidence = browser.run(picture)
        browser.run("document.getElementById('points').click()")
        plain = browser.run(picture)
        assert len({by_region, by_confidence, plain}) == 3

    def test_the_legend_says_what_the_colours_stand_for(self, browser):
        legend = "return [...document.querySelectorAll('#legend li')].map((li) => li.textContent)"
        confidence = "document.getElementById('confidence')"
        browser.run(f"if ({confidence}.checked) {confidence}.click()")
        assert len(browser.run(legend)) == 18
        assert "nose midline" in browser.run(legend)
        browser.run(f"{confidence}.click()")
        assert browser.run(legend) == [f"± {share} % of the face" for share in (1, 2, 4)]

    def test_nothing_is_fetched_or_sent(self, browser):
        assert browser.run("return performance.getEntriesByType('resource').length") == 0
        assert browser.messages() == []
        browser.run("fetch('http://127.0.0.1:9').catch((e) => (globalThis.refused = e.message))")
        wait(browser, "return globalThis.refused")
        assert any("Content Security Policy" in message for message in browser.messages())
