import keras_landmarks  # noqa: F401 -- chooses the backend before any test imports Keras
