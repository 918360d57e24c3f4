import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_landmarks.utils import huge_pages

ON_REQUEST = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.fixture
def started_with(monkeypatch, tmp_path):
    """What a process is started anew with, on a system with this setting; None if it is not."""

    def use(system, tunables):
        setting = tmp_path / "enabled"
        setting.write_text(system)
        monkeypatch.setattr(huge_pages, "_SYSTEM_SETTING", setting)
        monkeypatch.setenv("GLIBC_TUNABLES", tunables)
        started = []
        monkeypatch.setattr(os, "execv", lambda _, argv: started.append(argv))
        huge_pages.use()
        return os.environ["GLIBC_TUNABLES"] if started else None

    return use


def test_a_system_that_gives_them_on_request_is_asked(started_with):
    assert started_with("always [madvise] never", "") == "glibc.malloc.hugetlb=1"


def test_what_the_user_set_stays(started_with):
    assert started_with("always [madvise] never", "a=b") == "a=b:glibc.malloc.hugetlb=1"
    assert started_with("always [madvise] never", "glibc.malloc.hugetlb=0") is None


@pytest.mark.parametrize("system", ["[always] madvise never", "always madvise [never]"])
def test_elsewhere_nothing_is_started_anew(started_with, system):
    assert started_with(system, "") is None


def test_a_system_without_the_setting_is_left_alone(started_with, monkeypatch):
    monkeypatch.setattr(huge_pages, "_on_request", lambda: False)
    assert started_with("", "") is None


@pytest.mark.skipif(
    not ON_REQUEST.exists() or "[madvise]" not in ON_REQUEST.read_text(),
    reason="this system gives no huge pages on request",
)
def test_the_same_command_runs_once_more_and_only_once(tmp_path):
    module = tmp_path / "command.py"
    module.write_text(
        "import os, sys\n"
        "from keras_landmarks.utils import huge_pages\n"
        "print('started', flush=True)\n"
        "huge_pages.use()\n"
        "print(sys.argv[1:], os.environ['GLIBC_TUNABLES'])\n"
    )
    environment = {name: v for name, v in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-m", "command", "--a=b c"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.stdout.splitlines() == [
        "started",
        "started",
        "['--a=b c'] glibc.malloc.hugetlb=1",
    ]


def test_others_start_without_them(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "a=b:glibc.malloc.hugetlb=1")
    with huge_pages.without():
        assert os.environ["GLIBC_TUNABLES"] == "a=b"
    assert os.environ["GLIBC_TUNABLES"] == "a=b:glibc.malloc.hugetlb=1"
