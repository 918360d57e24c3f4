import os
import subprocess
import sys

import pytest

from keras_landmarks.utils import cores


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Returns `cores.usable()` on a machine of 64 cores with these files and variables."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(cores, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "_OWN_CGROUPS", tmp_path / "own")
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "SLURM_STEP_TASKS_PER_NODE"):
        monkeypatch.delenv(name, raising=False)

    def usable(own="", files=(), variables=()):
        (tmp_path / "own").write_text(own)
        for name, content in dict(files).items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        for name, value in dict(variables).items():
            monkeypatch.setenv(name, value)
        return cores.usable()

    return usable


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("", {}, 64),
        ("0::/\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "5000 100000\n"}, 1),
        # Quotas of the groups around the process's group count, too.
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        # In a container the path is the host's.
        ("0::/docker/0123\n", {"cpu.max": "200000 100000"}, 2),
        (
            "3:cpu,cpuacct:/job\n",
            {
                "cpu,cpuacct/job/cpu.cfs_quota_us": "500000",
                "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
            },
            5,
        ),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ("3:cpuset:/job\n", {"cpu.max": "100000 100000"}, 64),
    ],
)
def test_cgroup_quota_is_a_limit(machine, own, files, expected):
    assert machine(own, files) == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLURM_CPUS_PER_TASK": "8"}, 8),
        ({"SLURM_CPUS_PER_TASK": "8", "SLURM_CPUS_ON_NODE": "32"}, 8),
        ({"SLURM_CPUS_ON_NODE": "32"}, 32),
        ({"SLURM_CPUS_ON_NODE": "32", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"}, 8),
        ({"SLURM_CPUS_ON_NODE": "2", "SLURM_STEP_TASKS_PER_NODE": "4"}, 1),
        ({"SLURM_CPUS_PER_TASK": "128"}, 64),
        ({"SLURM_CPUS_PER_TASK": "many"}, 64),
    ],
)
def test_slurm_share_is_a_limit(machine, variables, expected):
    assert machine(variables=variables) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_is_a_limit():
    program = (
        "import os\n"
        "os.cpu_count = lambda: 32\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from keras_landmarks.utils import cores\n"
        "print(cores.usable())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr
