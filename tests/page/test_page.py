"""The page in a real browser, and its JavaScript modules under Node, compared with Python."""

import base64
import dataclasses
import itertools
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from browser import chromium, needs_chromium

from keras_landmarks.contest import landmark_tables, listed_images
from keras_landmarks.exporting.exporter import export
from keras_landmarks.images import decoding
from keras_landmarks.images.geometry import CropSpec, to_crop
from keras_landmarks.inference.contest_splits.contest_predictions import predict_split
from keras_landmarks.models.keras_models import build_model, load_trained
from keras_landmarks.models.spec import ModelSpec, claim_workdir
from keras_landmarks.models.weight_files import BEST_WEIGHTS
from keras_landmarks.settings import PredictSettings

PAGE = Path(__file__).parents[2] / "keras_landmarks" / "page"
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
needs_npm = pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed")


def smooth_photo(rng, width, height):
    photo = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 1.2)
    return cv2.normalize(photo, None, 0, 255, cv2.NORM_MINMAX)


@needs_node
def test_crops_match_python(tmp_path):
    """Photos smaller than, larger than and equal to the crop; by whole factors; with bands."""
    rng = np.random.default_rng(0)
    sizes = [(64, 64), (128, 128), (37, 51), (300, 225), (63, 200), (96, 64), (150, 40)]
    crop_specs = [
        CropSpec(*size, framing, trim_bands)
        for size, framing, trim_bands in itertools.product(
            [(64, 64), (48, 64)], ["crop", "stretch", "pad"], [False, True]
        )
    ]
    jobs, expected = [], []
    for number, (size, crop_spec) in enumerate(itertools.product(sizes, crop_specs)):
        photo = smooth_photo(rng, *size)
        if crop_spec.trim_bands:
            photo[: len(photo) // 8], photo[:, -(size[0] // 7) :] = 9, 0
        files = {"photo": tmp_path / f"{number}.photo", "input": tmp_path / f"{number}.input"}
        files["photo"].write_bytes(photo.tobytes())
        names = {name: str(path) for name, path in files.items()}
        photo_size = {"width": size[0], "height": size[1]}
        jobs.append({**names, **photo_size, "spec": dataclasses.asdict(crop_spec)})
        expected.append(crop_spec.apply(photo))
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    script = ["node", Path(__file__).with_name("crop.mjs"), tmp_path / "jobs.json"]
    transforms = json.loads(subprocess.run(script, capture_output=True, check=True).stdout)
    for job, found, (crop, transform) in zip(jobs, transforms, expected, strict=True):
        pixels = np.fromfile(job["input"], np.uint8).reshape(crop.shape).astype(int)
        difference = np.abs(pixels - crop)
        assert difference.max() <= 2, job
        assert difference.mean() < 0.2, job
        np.testing.assert_allclose(found["scale"], transform.scale)
        np.testing.assert_allclose(found["offset"], transform.offset)


def run_in_node(script):
    """Runs a module in the page's folder; returns the JSON that it prints."""
    command = ["node", "--input-type=module", "-e", script]
    done = subprocess.run(command, cwd=PAGE, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@needs_node
def test_next_box_frames_the_face():
    """A face of 40 x 20 px at (100, 50); faces fill the upper left quarter of a 64 x 32 input."""
    script = """
        import { nextBox } from "./tracking.js";
        const spec = {width: 64, height: 32, face_box: [0, 0, 0.5, 0.5]};
        const previous = {left: 0, top: 0, right: 100, bottom: 100};
        const box = (width, height) =>
            nextBox([80, 40, 120, 60, 100, 50], {width, height}, spec, previous);
        console.log(JSON.stringify([box(200, 100), box(90, 100), box(2000, 1000)]));
    """
    inside, outside, small = run_in_node(script)
    # Fits exactly at 80 x 40 from (80, 40); the result is 0.6 of the way from the previous box.
    assert inside == pytest.approx({"left": 48.0, "top": 24.0, "right": 136.0, "bottom": 88.0})
    assert (outside, small) == (None, None)


@needs_node
@pytest.mark.parametrize("has_sigmas", [True, False])
def test_search_finds_only_real_faces(has_sigmas):
    """A fake network that sees a face of 60 px at (420, 90) if it takes 0.3 to 0.9 of the box.

    Otherwise it predicts an average face in the central half of the box, as real networks do.
    """
    script = """
        import { MAX_DOUBT, findFace, refineBox } from "./search.js";
        const hasSigmas = HAS_SIGMAS;
        const description = {width: 64, height: 64, face_box: [0.25, 0.25, 0.75, 0.75]};
        const square = (x, y, size) => [[-1, -1], [1, -1], [0, 0], [-1, 1], [1, 1]]
            .flatMap(([a, b]) => [x + (a * size) / 2, y + (b * size) / 2]);
        const networkOf = (face) => ({ description, async predict(picture, box) {
            const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
            const side = box.right - box.left;
            const off = face ? Math.max(Math.abs(face.x - x), Math.abs(face.y - y)) / side : 1;
            const seen = face && off < 0.3 && face.size > 0.3 * side && face.size < 0.9 * side;
            const sigma = face && (0.015 + 0.1 * Math.abs(Math.log(face.size / side / 0.5))) * 60;
            return {
                points: seen ? square(face.x, face.y, face.size) : square(x, y, side / 2),
                sigmas: hasSigmas ? new Array(5).fill(seen ? sigma : 0.1 * side) : null,
            };
        } });
        const picture = { canvas: {width: 500, height: 300} };
        const face = {x: 420, y: 90, size: 60};
        const tight = {left: 382, top: 58, right: 452, bottom: 128};
        const results = [
            await findFace(networkOf(face), picture, () => true),
            await findFace(networkOf(null), picture, () => true),
            await refineBox(networkOf(face), picture, tight),
        ];
        const summaries = results.map(({box, doubt}) => ({box, sure: doubt < MAX_DOUBT}));
        console.log(JSON.stringify(summaries));
    """
    face, none, in_tight_box = run_in_node(script.replace("HAS_SIGMAS", json.dumps(has_sigmas)))
    assert not none["sure"]
    assert in_tight_box["sure"]
    if has_sigmas:  # a box that is centred on the face is surer
        around = {"left": 360, "top": 30, "right": 480, "bottom": 150}
        assert in_tight_box["box"] == face["box"] == around
    else:  # no box is surer than another: there is no search
        assert not face["sure"]


needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@needs_make
@needs_npm
def test_make_page_needs_a_model():
    done = subprocess.run(
        ["make", "--no-print-directory", "page", "WORKDIR=nope"],
        cwd=PAGE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "nope holds no model (nope/model.json)" in done.stderr
    assert done.stdout == ""


@needs_make
def test_make_page_needs_node():
    make = shutil.which("make")
    done = subprocess.run(
        [make, "page"],
        cwd=PAGE.parents[1],
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "needs Node" in done.stderr


@pytest.fixture(scope="module")
def unsure_run(faces, tmp_path_factory):
    """A model that predicts roughly a mean shape, and standard deviations."""
    keras.utils.set_random_seed(0)
    spec = ModelSpec("tiny", 971, "48x64", "pad", uncertainty=True)
    model = build_model(spec)
    photo = listed_images.read_image(faces / "train" / "images", "face_000000.jpg")
    table = landmark_tables.read_landmarks(faces / "train" / "landmarks.csv")
    shape = to_crop(table.landmarks_photo_px[0], spec.crop_spec.apply(photo)[1])
    for name, bias, spread in [("fc", shape.ravel(), 0.5), ("log_variance", -1.5, 0.2)]:
        kernel, zeros = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([spread * kernel, zeros + bias])
    workdir = tmp_path_factory.mktemp("unsure")
    claim_workdir(workdir, spec)
    model.save_weights(workdir / BEST_WEIGHTS)
    return workdir


@pytest.fixture(scope="module")
def predictions(unsure_run, faces, tmp_path_factory):
    """What Python predicts for the test photos."""
    folder = tmp_path_factory.mktemp("predictions")
    paths = folder / "s.csv", folder / "p.npz"
    predict_split(unsure_run, faces, "test", *paths, PredictSettings())
    return dict(np.load(folder / "p.npz"))


def build_page(workdir, folder):
    if not (PAGE / "node_modules").exists():
        subprocess.run(["npm", "ci"], cwd=PAGE, check=True)
    export(workdir, folder / "exported", "onnx")
    build = ["node", PAGE / "build.mjs", folder / "exported", folder / "index.html"]
    subprocess.run(build, cwd=folder, check=True)


@pytest.fixture(scope="module")
def browser(unsure_run, faces, tmp_path_factory):
    """A browser with the page, opened from disk, and a fake camera that shows a test photo."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("page")
    build_page(unsure_run, folder)
    photo = listed_images.read_image(faces / "test" / "images", "face_000000.jpg")
    frame = decoding.encode_jpeg(cv2.resize(photo, (240, 320)))
    (folder / "camera.mjpeg").write_bytes(3 * frame)
    camera = [
        *["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"],
        f"--use-file-for-fake-video-capture={folder / 'camera.mjpeg'}",
    ]
    with chromium(*camera) as browser:
        browser.page = f"file://{folder / 'index.html'}"
        browser.open(browser.page, 900, 900)
        wait(browser, "return document.body.dataset.state === 'ready'")
        yield browser


@pytest.fixture(scope="module")
def faceless(browser, mean_face, tmp_path_factory):
    """The page with a model that sees no face and predicts no standard deviations."""
    folder = tmp_path_factory.mktemp("faceless")
    build_page(mean_face, folder)
    browser.open(f"file://{folder / 'index.html'}", 900, 900)
    wait(browser, "return document.body.dataset.state === 'ready'")
    return browser


@pytest.fixture
def cameras(browser):
    """Fake cameras that open when the test calls answer(i), for the i-th request."""
    browser.run("""
        const [devices, real] = [navigator.mediaDevices, navigator.mediaDevices.getUserMedia];
        globalThis.streams = [];
        globalThis.answers = [];
        globalThis.answer = (i) => answers[i]();
        devices.getUserMedia = (constraints) => new Promise((resolve) => answers.push(async () => {
            streams.push(await real.call(devices, constraints));
            resolve(streams.at(-1));
        }));
        globalThis.live = () =>
            streams.filter((stream) => stream.getTracks()[0].readyState === "live").length;
        globalThis.putBack = () => (devices.getUserMedia = real);
    """)
    yield browser
    browser.run("putBack()")
    if browser.run("return document.body.classList.contains('live')"):
        click(browser, "camera")


def click(browser, name):
    browser.run("document.getElementById(arguments[0]).click()", name)


def wait(browser, script):
    """Waits until a script in the page returns something truthy; returns that."""
    end = time.monotonic() + 600
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


def wait_for_status(browser, words):
    text = "document.getElementById('status').textContent"
    wait(browser, f"return {text}.includes({json.dumps(words)})")


def draw(browser, first, last):
    """Drags from one position in the picture to another, as shares of its sides."""
    script = """
        const canvas = document.getElementById("picture");
        const { left, top, width, height } = canvas.getBoundingClientRect();
        const at = ([x, y]) =>
            ({pointerId: 1, clientX: left + x * width, clientY: top + y * height});
        canvas.setPointerCapture = () => {};
        globalThis.landmarks = null;
        canvas.dispatchEvent(new PointerEvent("pointerdown", at(arguments[0])));
        canvas.dispatchEvent(new PointerEvent("pointermove", at(arguments[1])));
        canvas.dispatchEvent(new PointerEvent("pointerup", at(arguments[1])));
    """
    browser.run(script, first, last)


def points_of(found):
    return np.reshape(found["points"], (-1, 2))


def saved(browser):
    """Clicks "Save points"; returns the file's name and text."""
    script = """
        const [url, press] = [URL.createObjectURL, HTMLAnchorElement.prototype.click];
        URL.createObjectURL = (blob) => ((globalThis.blob = blob), url(blob));
        HTMLAnchorElement.prototype.click = function () { globalThis.fileName = this.download; };
        document.getElementById("save").click();
        URL.createObjectURL = url;
        HTMLAnchorElement.prototype.click = press;
        return blob.text().then((text) => [fileName, text]);
    """
    return browser.run(script)


@needs_chromium
@needs_npm
class TestPage:
    @pytest.mark.parametrize("row", [0, 3, 5])
    def test_points_match_python(self, browser, predictions, faces, row):
        name = str(predictions["file_names"][row])
        drop(browser, name, (faces / "test" / "images" / name).read_bytes())
        found = wait(browser, "return globalThis.landmarks")
        expected = predictions["landmarks"][row]
        assert np.abs(points_of(found) - expected).max() < 1
        np.testing.assert_allclose(found["sigmas"], predictions["sigmas"][row], rtol=0.05)
        wait_for_status(browser, "Likely error of a point, by the model's own estimate: ±")
        assert status(browser).startswith(name)

    def test_points_in_a_drawn_box_match_python(self, browser, unsure_run, faces):
        folder, name = faces / "test" / "images", "face_000001.jpg"
        drop(browser, name, (folder / name).read_bytes())
        wait(browser, "return globalThis.landmarks")
        draw(browser, (0.1, 0.2), (0.9, 0.8))
        found = wait(browser, "return globalThis.landmarks")
        box, photo = found["box"], listed_images.read_image(folder, name)
        assert abs(box["left"] - 0.1 * photo.shape[1]) <= 1
        assert abs(box["bottom"] - 0.8 * photo.shape[0]) <= 1
        spec, model = load_trained(unsure_run)
        part = photo[box["top"] : box["bottom"], box["left"] : box["right"]]
        crop, (scale, offset) = spec.crop_spec.apply(part)
        predicted = model.predict_on_batch(crop[None])[0, :, :2]
        expected = (predicted - offset) / scale + [box["left"], box["top"]]
        assert np.abs(points_of(found) - expected).max() < 1

    def test_non_pictures_change_only_the_status(self, browser, faces):
        drop(browser, "face.jpg", (faces / "test" / "images" / "face_000001.jpg").read_bytes())
        wait_for_status(browser, "Likely error")
        picture = "return document.getElementById('picture').toDataURL()"
        before = browser.run(picture)
        drop(browser, "notes.txt", b"no picture")
        wait_for_status(browser, "notes.txt is not a picture")
        assert browser.run(picture) == before
        assert saved(browser)[0] == "face.tsv"

    def test_click_removes_the_box(self, browser, faces):
        drop(browser, "face.jpg", (faces / "test" / "images" / "face_000001.jpg").read_bytes())
        wait_for_status(browser, "Likely error")
        draw(browser, (0.1, 0.2), (0.9, 0.8))
        box = wait(browser, "return globalThis.landmarks")["box"]
        assert box["left"] > 0
        draw(browser, (0.5, 0.2), (0.5, 0.8))
        time.sleep(0.2)
        assert browser.run("return globalThis.landmarks") is None
        draw(browser, (0.5, 0.5), (0.5, 0.5))
        assert wait(browser, "return globalThis.landmarks")["box"]["left"] == 0

    def test_last_dropped_photo_wins(self, browser, faces):
        large = decoding.encode_jpeg(np.full((4000, 6000, 3), 90, np.uint8))
        small = (faces / "test" / "images" / "face_000001.jpg").read_bytes()
        drop(browser, "large.jpg", large)
        drop(browser, "small.jpg", small)
        wait_for_status(browser, "Likely error")
        time.sleep(0.5)
        assert status(browser).startswith("small.jpg")
        assert browser.run("return globalThis.landmarks.width") < 6000

    def test_pasted_photo_is_shown(self, browser, faces):
        script = """
            const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([bytes], "image.png"));
            const pasted = new ClipboardEvent("paste", {clipboardData, bubbles: true});
            document.body.dispatchEvent(pasted);
        """
        content = (faces / "test" / "images" / "face_000001.jpg").read_bytes()
        browser.run(script, base64.b64encode(content).decode())
        wait(
            browser, "return document.getElementById('status').textContent.startsWith('image.png')"
        )

    def test_saved_points_are_complete(self, browser, faces):
        drop(browser, "a.face.jpg", (faces / "test" / "images" / "face_000001.jpg").read_bytes())
        found = wait(browser, "return globalThis.landmarks")
        wait_for_status(browser, "Likely error")
        name, text = saved(browser)
        header, *rows = [line.split("\t") for line in text.splitlines()]
        assert name == "a.face.tsv"
        assert header == ["point", "region", "x", "y", "deviation"]
        assert [row[0] for row in rows] == [str(i) for i in range(971)]
        assert (rows[0][1], rows[970][1]) == ("jaw_left", "pupil_right")
        numbers = np.array([row[2:] for row in rows], float)
        np.testing.assert_allclose(numbers[:, :2], points_of(found), atol=0.01)
        np.testing.assert_allclose(numbers[:, 2], found["sigmas"], atol=0.01)

    def test_camera_points_follow_the_face(self, browser):
        browser.run("globalThis.landmarks = null; document.getElementById('camera').click()")
        wait(browser, "return globalThis.landmarks?.frames > 10")
        found = browser.run("return globalThis.landmarks")
        points, box = points_of(found), found["box"]
        assert found["width"] == 240
        # The model predicts much the same shape in every box, so the box keeps its size: 0.9 of the
        # picture.
        assert abs(box["right"] - box["left"] - 0.9 * 240) < 24
        assert abs(box["bottom"] - box["top"] - 0.9 * 320) < 32
        assert np.all(
            (points > [box["left"], box["top"]]) & (points < [box["right"], box["bottom"]])
        )
        assert "Lost" not in status(browser)
        assert re.search(
            r"frames per second: \d+ ms each, of which \d+ ms in the network", status(browser)
        )
        drop(browser, "notes.txt", b"no picture")
        wait_for_status(browser, "notes.txt is not a picture")
        assert wait(browser, "return globalThis.landmarks?.frames")
        click(browser, "camera")
        frames = browser.run("return globalThis.landmarks.frames")
        time.sleep(0.3)
        assert browser.run("return globalThis.landmarks.frames") <= frames + 1
        assert status(browser) == "Camera stopped."

    def test_camera_requested_twice_runs_once(self, cameras):
        click(cameras, "camera")
        click(cameras, "camera")
        assert status(cameras) == "Asking for the camera …"
        cameras.run("answer(0); answer(1)")
        wait_for_status(cameras, "frames per second")
        wait(cameras, "return streams.length === 2 && live() === 1")
        click(cameras, "camera")
        assert cameras.run("return live()") == 0

    def test_photo_wins_over_earlier_camera(self, cameras, faces):
        click(cameras, "camera")
        drop(cameras, "face.jpg", (faces / "test" / "images" / "face_000001.jpg").read_bytes())
        wait_for_status(cameras, "Likely error")
        cameras.run("answer(0)")
        wait(cameras, "return streams.length === 1 && live() === 0")
        assert status(cameras).startswith("face.jpg")

    def test_disconnected_camera_is_reported(self, cameras):
        click(cameras, "camera")
        cameras.run("answer(0)")
        wait_for_status(cameras, "frames per second")
        cameras.run("streams[0].getTracks()[0].dispatchEvent(new Event('ended'))")
        assert "The camera was disconnected" in status(cameras)
        assert cameras.run("return live()") == 0

    @pytest.mark.parametrize(
        ("devices", "words"),
        [
            ("undefined", "Browsers allow the camera only on pages from https, localhost or disk."),
            (
                "{getUserMedia: async () => { throw new DOMException('', 'NotAllowedError'); }}",
                "Allow it beside this page's address",
            ),
        ],
    )
    def test_camera_errors_are_explained(self, browser, devices, words):
        value = "Object.defineProperty(navigator, 'mediaDevices', {configurable: true, value: %s})"
        browser.run(value % devices)
        click(browser, "camera")
        wait_for_status(browser, words)
        browser.run("delete navigator.mediaDevices")

    def test_colours_show_region_or_confidence(self, browser, faces):
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

    def test_legend_explains_the_colours(self, browser):
        legend = "return [...document.querySelectorAll('#legend li')].map((li) => li.textContent)"
        confidence = "document.getElementById('confidence')"
        browser.run(f"if ({confidence}.checked) {confidence}.click()")
        assert len(browser.run(legend)) == 18
        assert "nose midline" in browser.run(legend)
        browser.run(f"{confidence}.click()")
        sure, between, unsure = browser.run(legend)
        assert sure == "sure, by the model's own estimate: ± 1 % of the face or less"
        assert (between, unsure) == ("± 2 %", "unsure: ± 4 % or more")

    def test_page_makes_no_requests(self, browser):
        assert browser.run("return performance.getEntriesByType('resource').length") == 0
        assert browser.messages() == []
        browser.run("fetch('http://127.0.0.1:9').catch((e) => (globalThis.blocked = e.message))")
        wait(browser, "return globalThis.blocked")
        assert any("Content Security Policy" in message for message in browser.messages())

    def test_early_photo_is_shown_when_ready(self, browser, faces):
        browser.open(browser.page, 900, 900)
        drop(browser, "early.jpg", (faces / "test" / "images" / "face_000001.jpg").read_bytes())
        wait_for_status(browser, "Likely error")
        assert status(browser).startswith("early.jpg")

    def test_page_fits_a_phone(self, browser, faces):
        browser.open(browser.page, 320, 640)
        name = f"{'long_name' * 8}.jpg"
        drop(browser, name, (faces / "test" / "images" / "face_000001.jpg").read_bytes())
        wait_for_status(browser, "Likely error")
        assert browser.run("return document.documentElement.scrollWidth") == 320
        browser.open(browser.page, 844, 390)
        place = "return document.getElementById('camera').getBoundingClientRect().bottom"
        assert browser.run(place) < 390

    def test_no_face_is_reported(self, faceless, faces):
        drop(faceless, "room.jpg", (faces / "test" / "images" / "face_000001.jpg").read_bytes())
        wait_for_status(faceless, "no face found in the whole photo. Draw a box")
        assert not faceless.run("return landmarks.isFace")
        assert faceless.run("return document.getElementById('save').disabled")
        draw(faceless, (0.1, 0.2), (0.9, 0.8))
        wait_for_status(faceless, "no face found in the box")

    def test_camera_without_face_keeps_searching(self, faceless):
        click(faceless, "camera")
        wait(faceless, "return globalThis.landmarks?.frames")
        wait_for_status(faceless, "Lost")
        first = faceless.run("return JSON.stringify(landmarks.box)")
        wait(faceless, f"return JSON.stringify(landmarks.box) !== {json.dumps(first)}")
        click(faceless, "camera")
        assert status(faceless) == "Camera stopped."
