"""Files of two images with true and predicted points, whose metrics are computed by hand."""

import numpy as np

from keras_landmarks.contest import landmark_tables, prediction_files, requested_points

NAMES = ["a.jpg", "b.jpg"]
# Four points each; boxes 30 x 120 and 40 x 40: sizes 60 and 40.
TRUE_PX = np.array(
    [[[10, 20], [40, 140], [20, 50], [30, 60]], [[0, 0], [40, 40], [10, 10], [20, 20]]]
)
# Distances: 5, 0, 0, 0 and 10, 2, 0, 0. MSE: 25 / 8 and 104 / 8.
ERROR_PX = np.array([[[3, 4], [0, 0], [0, 0], [0, 0]], [[-6, 8], [0, 2], [0, 0], [0, 0]]])
REQUESTED = [[1, 0], [3, 0]]


def write_files(folder):
    """Writes truth, predictions in another order, requested points and a submission of them."""
    predicted_px = TRUE_PX + ERROR_PX
    paths = {
        "truth": folder / "landmarks.csv",
        "predictions": folder / "predictions.npz",
        "test_points": folder / "test_points.csv",
        "submission": folder / "submission.csv",
    }
    landmark_tables.write_landmarks(paths["truth"], NAMES, TRUE_PX)
    prediction_files.write(paths["predictions"], NAMES[::-1], predicted_px[::-1])
    requested_points.write_test_points(paths["test_points"], NAMES, REQUESTED)
    answers = [face[indices] for face, indices in zip(predicted_px, REQUESTED, strict=True)]
    landmark_tables.write_submission(paths["submission"], NAMES[::-1], answers[::-1])
    return paths


def write_better_predictions(folder):
    """Writes predictions whose error is halved: a quarter of the MSE on each image."""
    prediction_files.write(folder / "better.npz", NAMES, TRUE_PX + ERROR_PX / 2)
    return folder / "better.npz"
