import pytest

from keras_landmarks.exporting import formats
from keras_landmarks.utils.errors import InputError


@pytest.mark.parametrize("name", ["keras", "stablehlo", "saved_model"])
def test_unsupported_precision_is_refused(name):
    with pytest.raises(InputError, match=f"--format={name} .*int8.*onnx, litert"):
        formats.get_format(name, "int8")
