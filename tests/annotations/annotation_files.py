"""Reads annotations into plain values, for comparisons."""

from keras_landmarks.annotations.face import AnnotatedFace
from keras_landmarks.annotations.reading import read_annotations


def read_faces(source, source_format="auto"):
    """Returns (photo, landmarks) of each face, or the reason why it cannot be used."""
    return [
        (face.photo, face.landmarks.tolist()) if isinstance(face, AnnotatedFace) else face.reason
        for face in read_annotations(source, source_format).faces
    ]
