"""The page in a real browser, and its framing under Node, beside Python's."""

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
from keras_landmarks.export import export
from keras_landmarks.images import decoding
from keras_landmarks.images.geometry import CropSpec, to_crop
from keras_landmarks.models.pretrained import BEST_WEIGHTS
from keras_landmarks.models.spec import ModelSpec, claim_workdir, load_trained
from keras_landmarks.predict import predict

WEB = Path(__file__).parents[2] / "keras_landmarks" / "page"
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
        CropSpec(*size, framing, trim_bands)
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


def run_in_node(script):
    """Returns what a module in the page's folder prints as JSON."""
    command = ["node", "--input-type=module", "-e", script]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@needs_node
def test_the_next_box_has_the_face_where_faces_lie_as_a_rule():
    """A face 40 x 20 px about (100, 50); faces fill the upper left quarter of a 64 x 32 input."""
    script = """
        import { nextBox } from "./tracking.js";
        const frame = {width: 64, height: 32, face_box: [0, 0, 0.5, 0.5]};
        const earlier = {left: 0, top: 0, right: 100, bottom: 100};
        const box = (width, height) =>
            nextBox([80, 40, 120, 60, 100, 50], {width, height}, frame, earlier);
        console.log(JSON.stringify([box(200, 100), box(90, 100), box(2000, 1000)]));
    """
    inside, outside, small = run_in_node(script)
    # All of it 80 x 40 from (80, 40) on; 0.6 of the way there from the box before.
    assert inside == pytest.approx({"left": 48.0, "top": 24.0, "right": 136.0, "bottom": 88.0})
    assert (outside, small) == (None, None)


@needs_node
@pytest.mark.parametrize("tells_sigmas", [True, False])
def test_a_face_is_found_wherever_it_is_and_none_where_there_is_none(tells_sigmas):
    """A network that sees a face, 60 px about (420, 90), where it takes 0.3 to 0.9 of the box.

    Elsewhere it says the usual face, as real ones do, in the middle half of the box.
    """
    script = """
        import { LIMIT, findAnywhere, lookCloser } from "./finding.js";
        const tells = TELLS;
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
                sigmas: tells ? new Array(5).fill(seen ? sigma : 0.1 * side) : null,
            };
        } });
        const picture = { canvas: {width: 500, height: 300} };
        const face = {x: 420, y: 90, size: 60};
        const tight = {left: 382, top: 58, right: 452, bottom: 128};
        const results = [
            await findAnywhere(networkOf(face), picture, () => true),
            await findAnywhere(networkOf(null), picture, () => true),
            await lookCloser(networkOf(face), picture, tight),
        ];
        console.log(JSON.stringify(results.map(({box, doubt}) => ({box, sure: doubt < LIMIT}))));
    """
    face, none, in_tight_box = run_in_node(script.replace("TELLS", json.dumps(tells_sigmas)))
    assert not none["sure"]
    assert in_tight_box["sure"]
    if tells_sigmas:  # a box that shows the face in its middle is surer
        around = {"left": 360, "top": 30, "right": 480, "bottom": 150}
        assert in_tight_box["box"] == face["box"] == around
    else:  # no box is surer than another: not all are tried
        assert not face["sure"]


needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@needs_make
@needs_npm
def test_make_page_says_that_a_work_directory_has_no_model():
    done = subprocess.run(
        ["make", "--no-print-directory", "page", "WORKDIR=nope"],
        cwd=WEB.parents[1],
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
        cwd=WEB.parents[1],
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
    photo = listed_images.read_image(faces / "train" / "images", "face_000000.jpg")
    table = landmark_tables.read_landmarks(faces / "train" / "landmarks.csv")
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


def build_page(workdir, folder):
    if not (WEB / "node_modules").exists():
        subprocess.run(["npm", "ci"], cwd=WEB, check=True)
    export(workdir, folder / "exported", "onnx")
    build = ["node", WEB / "build.mjs", folder / "exported", folder / "index.html"]
    subprocess.run(build, cwd=folder, check=True)


@pytest.fixture(scope="module")
def browser(unsure_run, faces, tmp_path_factory):
    """A browser with the page, opened from disk, and a camera that shows a test photo."""
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
    """The page of a model that sees no face anywhere, nor says how sure it is."""
    folder = tmp_path_factory.mktemp("faceless")
    build_page(mean_face, folder)
    browser.open(f"file://{folder / 'index.html'}", 900, 900)
    wait(browser, "return document.body.dataset.state === 'ready'")
    return browser


@pytest.fixture
def cameras(browser):
    """Cameras of the page's that open when the test says so: answer(0) the first asked for."""
    browser.run("""
        const [devices, real] = [navigator.mediaDevices, navigator.mediaDevices.getUserMedia];
        globalThis.streams = [];
        globalThis.answers = [];
        globalThis.answer = (i) => answers[i]();
        devices.getUserMedia = (wanted) => new Promise((resolve) => answers.push(async () => {
            streams.push(await real.call(devices, wanted));
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


def wait_for_status(browser, words):
    text = "document.getElementById('status').textContent"
    wait(browser, f"return {text}.includes({json.dumps(words)})")


def draw(browser, first, last):
    """Drags from one place of the picture to another, as shares of its sides."""
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
    """Presses "Save points"; returns the file's name and text."""
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
    def test_points_of_a_dropped_photo_are_pythons_to_a_pixel(
        self, browser, predictions, faces, row
    ):
        name = str(predictions["file_names"][row])
        drop(browser, name, (faces / "test" / "images" / name).read_bytes())
        found = wait(browser, "return globalThis.landmarks")
        expected = predictions["landmarks"][row]
        assert np.abs(points_of(found) - expected).max() < 1
        np.testing.assert_allclose(found["sigmas"], predictions["sigmas"][row], rtol=0.05)
        wait_for_status(browser, "Likely error of a point, by the model's own word: ±")
        assert status(browser).startswith(name)

    def test_in_a_box_that_is_drawn_they_are_pythons_of_that_part(self, browser, unsure_run, faces):
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
        crop, (scale, offset) = spec.frame.apply(part)
        predicted = model.predict_on_batch(crop[None])[0, :, :2]
        expected = (predicted - offset) / scale + [box["left"], box["top"]]
        assert np.abs(points_of(found) - expected).max() < 1

    def test_a_file_that_is_no_picture_changes_nothing_but_the_status(self, browser, faces):
        drop(browser, "face.jpg", (faces / "test" / "images" / "face_000001.jpg").read_bytes())
        wait_for_status(browser, "Likely error")
        shown = "return document.getElementById('picture').toDataURL()"
        before = browser.run(shown)
        drop(browser, "notes.txt", b"no picture")
        wait_for_status(browser, "notes.txt is not a picture")
        assert browser.run(shown) == before
        assert saved(browser)[0] == "face.tsv"

    def test_a_swipe_leaves_the_box_and_a_click_takes_it_away(self, browser, faces):
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

    def test_the_photo_dropped_last_stays(self, browser, faces):
        large = decoding.encode_jpeg(np.full((4000, 6000, 3), 90, np.uint8))
        small = (faces / "test" / "images" / "face_000001.jpg").read_bytes()
        drop(browser, "large.jpg", large)
        drop(browser, "small.jpg", small)
        wait_for_status(browser, "Likely error")
        time.sleep(0.5)
        assert status(browser).startswith("small.jpg")
        assert browser.run("return globalThis.landmarks.width") < 6000

    def test_a_photo_that_is_pasted_is_shown(self, browser, faces):
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

    def test_what_is_saved_has_number_region_and_deviation_of_each_point(self, browser, faces):
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
        assert re.search(
            r"frames a second: \d+ ms each, of that \d+ ms the network", status(browser)
        )
        drop(browser, "notes.txt", b"no picture")
        wait_for_status(browser, "notes.txt is not a picture")
        assert wait(browser, "return globalThis.landmarks?.frames")
        click(browser, "camera")
        frames = browser.run("return globalThis.landmarks.frames")
        time.sleep(0.3)
        assert browser.run("return globalThis.landmarks.frames") <= frames + 1
        assert status(browser) == "Camera stopped."

    def test_a_camera_asked_for_twice_runs_once(self, cameras):
        click(cameras, "camera")
        click(cameras, "camera")
        assert status(cameras) == "Asking for the camera …"
        cameras.run("answer(0); answer(1)")
        wait_for_status(cameras, "frames a second")
        wait(cameras, "return streams.length === 2 && live() === 1")
        click(cameras, "camera")
        assert cameras.run("return live()") == 0

    def test_a_photo_dropped_while_the_camera_is_asked_for_stays(self, cameras, faces):
        click(cameras, "camera")
        drop(cameras, "face.jpg", (faces / "test" / "images" / "face_000001.jpg").read_bytes())
        wait_for_status(cameras, "Likely error")
        cameras.run("answer(0)")
        wait(cameras, "return streams.length === 1 && live() === 0")
        assert status(cameras).startswith("face.jpg")

    def test_a_camera_that_goes_is_told(self, cameras):
        click(cameras, "camera")
        cameras.run("answer(0)")
        wait_for_status(cameras, "frames a second")
        cameras.run("streams[0].getTracks()[0].dispatchEvent(new Event('ended'))")
        assert "The camera has gone" in status(cameras)
        assert cameras.run("return live()") == 0

    @pytest.mark.parametrize(
        ("devices", "words"),
        [
            ("undefined", "Browsers give the camera only to pages from https, localhost or disk."),
            (
                "{getUserMedia: async () => { throw new DOMException('', 'NotAllowedError'); }}",
                "Allow it by the sign beside this page's address",
            ),
        ],
    )
    def test_why_there_is_no_camera_is_told(self, browser, devices, words):
        value = "Object.defineProperty(navigator, 'mediaDevices', {configurable: true, value: %s})"
        browser.run(value % devices)
        click(browser, "camera")
        wait_for_status(browser, words)
        browser.run("delete navigator.mediaDevices")

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
        sure, between, unsure = browser.run(legend)
        assert sure == "sure, by the model's own estimate: ± 1 % of the face or less"
        assert (between, unsure) == ("± 2 %", "unsure: ± 4 % or more")

    def test_nothing_is_fetched_or_sent(self, browser):
        assert browser.run("return performance.getEntriesByType('resource').length") == 0
        assert browser.messages() == []
        browser.run("fetch('http://127.0.0.1:9').catch((e) => (globalThis.refused = e.message))")
        wait(browser, "return globalThis.refused")
        assert any("Content Security Policy" in message for message in browser.messages())

    def test_a_photo_chosen_before_the_model_is_there_is_shown_once_it_is(self, browser, faces):
        browser.open(browser.page, 900, 900)
        drop(browser, "early.jpg", (faces / "test" / "images" / "face_000001.jpg").read_bytes())
        wait_for_status(browser, "Likely error")
        assert status(browser).startswith("early.jpg")

    def test_on_a_phone_all_fits(self, browser, faces):
        browser.open(browser.page, 320, 640)
        name = f"{'long_name' * 8}.jpg"
        drop(browser, name, (faces / "test" / "images" / "face_000001.jpg").read_bytes())
        wait_for_status(browser, "Likely error")
        assert browser.run("return document.documentElement.scrollWidth") == 320
        browser.open(browser.page, 844, 390)
        place = "return document.getElementById('camera').getBoundingClientRect().bottom"
        assert browser.run(place) < 390

    def test_where_there_is_no_face_none_is_shown(self, faceless, faces):
        drop(faceless, "room.jpg", (faces / "test" / "images" / "face_000001.jpg").read_bytes())
        wait_for_status(faceless, "no face found in the whole photo. Draw a box")
        assert not faceless.run("return landmarks.isFace")
        assert faceless.run("return document.getElementById('save').disabled")
        draw(faceless, (0.1, 0.2), (0.9, 0.8))
        wait_for_status(faceless, "no face found in the box")

    def test_a_camera_that_sees_no_face_looks_here_and_there(self, faceless):
        click(faceless, "camera")
        wait(faceless, "return globalThis.landmarks?.frames")
        wait_for_status(faceless, "Lost")
        first = faceless.run("return JSON.stringify(landmarks.box)")
        wait(faceless, f"return JSON.stringify(landmarks.box) !== {json.dumps(first)}")
        click(faceless, "camera")
        assert status(faceless) == "Camera stopped."
