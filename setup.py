"""Installs the folder `flags` within the package; pyproject.toml has everything else."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["keras_landmarks*"]), "keras_landmarks.flagfiles"],
    package_dir={"keras_landmarks.flagfiles": "flags"},
)
