import json
import shutil

import cv2
import numpy as np
import pytest
from photos import face_image, photo_of
from PIL import Image

from keras_landmarks.images import decoding, video
from keras_landmarks.layouts.layout import REGIONS


@pytest.fixture(scope="session")
def album(faces, tmp_path_factory):
    """A folder of photos in several formats, and of what else such a folder may hold."""
    folder = tmp_path_factory.mktemp("own") / "album"
    (folder / "trip").mkdir(parents=True)
    group, _ = photo_of(faces, (640, 480), [(0, (480, 60)), (1, (250, 120))])
    one, _ = photo_of(faces, (300, 400), [(2, (60, 100))])
    (folder / "group.jpg").write_bytes(decoding.encode_jpeg(group))
    write_rotated(folder / "trip" / "turned.JPG", one)
    cv2.imwrite(str(folder / "trip" / "one.png"), one[..., ::-1])
    (folder / "sky.jpg").write_bytes(decoding.encode_jpeg(np.full((99, 70, 3), 200, np.uint8)))
    (folder / "broken.jpg").write_bytes((folder / "group.jpg").read_bytes()[:2000])
    (folder / "notes.txt").write_text("eggs, milk")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    (folder / ".hidden.jpg").write_bytes((folder / "group.jpg").read_bytes())
    (folder / "linked").symlink_to(folder / "trip")
    return folder


@pytest.fixture(scope="session")
def named_face(mean_face, tmp_path_factory):
    """The model of `mean_face`, which knows the names of its points."""
    workdir = shutil.copytree(mean_face, tmp_path_factory.mktemp("named") / "work")
    values = json.loads((workdir / "model.json").read_text())
    names = [f"{region} {point}" for region, part in REGIONS.items() for point in range(971)[part]]
    (workdir / "model.json").write_text(json.dumps(values | {"point_names": names}))
    return workdir


def write_rotated(path, photo):
    """Writes a JPEG that its EXIF orientation, 6, rotates to this photo."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(photo)).save(path, "JPEG", exif=exif, quality=95)


@pytest.fixture(scope="session")
def clip(faces, tmp_path_factory):
    """A video of 12 frames, 640 x 480 px, 20 per second.

    One face moves by 3 px per frame; another appears in the fifth frame.
    """
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    still, _ = face_image(faces, 3)
    with video.writer(path, 20) as write:
        for frame in range(12):
            photo, _ = photo_of(faces, (640, 480), [(1, (40 + 3 * frame, 120))])
            if frame >= 4:
                photo[50 : 50 + still.shape[0], 480 : 480 + still.shape[1]] = still
            write(photo)
    return path
