import jax
import pytest

from keras_landmarks.utils import compilation_cache


@pytest.fixture(autouse=True)
def settings_of_the_tests():
    folder = jax.config.jax_compilation_cache_dir
    yield
    compilation_cache.use(folder)


def test_a_folder_is_made_and_used(tmp_path):
    compilation_cache.use(str(tmp_path / "new" / "cache"))
    assert jax.config.jax_enable_compilation_cache
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "new" / "cache")
    assert (tmp_path / "new" / "cache").is_dir()


def test_a_folder_that_cannot_be_written_to_is_one_line_and_no_error(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    compilation_cache.use(str(tmp_path / "file" / "cache"))
    assert not jax.config.jax_enable_compilation_cache
    (line,) = caplog.messages
    assert line == (
        f"{tmp_path}/file/cache: Not a directory; what is compiled is not kept for the next start"
    )


def test_a_home_folder_that_is_not_there_is_not_made(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    compilation_cache.use("~/.cache/xla")
    assert not jax.config.jax_enable_compilation_cache
    assert f"{tmp_path}/me is not there" in caplog.text
    assert not (tmp_path / "me").exists()
