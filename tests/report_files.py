"""A work directory, scored photos and a reader of HTML, for tests of the report."""

import json
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np

from keras_landmarks.contest import landmark_tables, prediction_files
from keras_landmarks.reports.report_writer import write_report

# A file name that would end an attribute, open an element and run a script.
ODD_NAME = "\"'><img src=x onerror=alert(1)><b>&amp;.jpg"
VOID = {"meta", "img", "br", "path", "use", "rect"}
TRUE_PX = np.array([[10, 20], [50, 20], [30, 15], [30, 70]])  # ears, brow, chin: 40 x 55
LAYOUT = {"regions": {"ears": [0, 1], "<i>middle</i>": [2, 3]}, "mirror": [1, 0, 2, 3]}


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.words, self._open = [], [], []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.words.append(data)

    def having(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self):
        return " ".join(" ".join(self.words).split())


def read_page(path):
    return Elements(Path(path).read_text())


def make_workdir(folder):
    """Writes the work directory of a run of three epochs."""
    folder.mkdir()
    (folder / "history.csv").write_text(
        "epoch,loss,mse,val_loss,val_mse,waiting,learning_rate,seconds,images_per_s\n"
        "0,30,90,40,120,0.5,0.01,2,50\n1,10,30,20,60,0.25,0.001,1,100\n2,12,36,19,57,0,0.001,1,90\n"
    )
    (folder / "flags.cfg").write_text("--model=tiny\n--loss=mse\n--loss_unit=crop\n--exclude=<b>\n")
    (folder / "model.json").write_text('{"model": "tiny", "points": 4, "image_size": "64x96"}')
    (folder / "versions.json").write_text('{"keras": "3.15.1", "devices": "2 x <cpu>"}')
    return folder


def make_scored(folder):
    """Writes twelve photos with four points; predictions of photo i are off by i + 1 px in x."""
    names = [ODD_NAME, *(f"{i}.png" for i in range(1, 12))]
    (folder / "data" / "images").mkdir(parents=True)
    for i, name in enumerate(names):
        photo = cv2.imencode(".png", np.full((90, 60, 3), 20 * i, np.uint8))[1]
        (folder / "data" / "images" / name).write_bytes(photo.tobytes())
    predicted = np.stack([np.add(TRUE_PX, [i + 1, 0]) for i in range(12)])
    paths = {"truth": folder / "data" / "truth.csv", "predictions": folder / "p.npz"}
    landmark_tables.write_landmarks(paths["truth"], names, [TRUE_PX] * 12)
    prediction_files.write(paths["predictions"], names, predicted)
    return paths


def write_full_report(folder):
    """Writes a page with all sections; returns its path and the results."""
    layout = folder / "layout.json"
    layout.write_text(json.dumps(LAYOUT))
    scored = make_scored(folder)
    table = prediction_files.read(scored["predictions"])
    sigmas = np.tile([1, 1, 1, 2], (12, 1))
    prediction_files.write(
        scored["predictions"], table.file_names, table.landmarks_photo_px, sigmas
    )
    html = folder / "page.html"
    return html, write_report(make_workdir(folder / "run <1>"), html, **scored, layout=layout)
