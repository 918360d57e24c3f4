import numpy as np

from keras_landmarks.cleaning import image_matching
from keras_landmarks.contest import listed_images


def test_video_frames_are_not_copies(faces):
    images = faces / "train" / "images"
    image = listed_images.read_image(images, "face_000003.jpg")
    height, width = image.shape[:2]
    middle = slice(height // 3, height // 2), slice(width // 3, width * 2 // 3)
    later = image.copy()
    later[middle] = np.roll(image, height // 20, axis=0)[middle]  # the eyes move a little
    first, second = (image_matching.hash_image(frame).vectors for frame in (image, later))
    assert list(image_matching.find_candidates(np.stack([first, second]))) == [(0, 1, False)]
    pictures = [image_matching.thumbnail(frame) for frame in (image, later)]
    assert image_matching.match(*pictures) is None


def test_mirrored_image_is_a_candidate(faces):
    image = listed_images.read_image(faces / "train" / "images", "face_000001.jpg")
    hashes = [image_matching.hash_image(side).vectors for side in (image, image[:, ::-1].copy())]
    assert (0, 1, True) in list(image_matching.find_candidates(np.stack(hashes)))


def test_candidates_are_found_across_blocks():
    """2,100 images are more than are compared at once."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2100, 2, 63)).astype(np.float32)
    vectors[2070:2075] = vectors[5:10] + rng.normal(0, 0.2, (5, 2, 63))
    vectors[25:30] = vectors[15:20] + rng.normal(0, 0.2, (5, 2, 63))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    expected = [(row, row + 2065, False) for row in range(5, 10)]
    expected += [(row, row + 10, False) for row in range(15, 20)]
    assert sorted(image_matching.find_candidates(vectors)) == expected
