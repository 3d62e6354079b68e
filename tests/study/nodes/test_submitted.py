import subprocess
import sys
from pathlib import Path

import pytest

from pan_model.errors import UserError
from study.nodes.submitted import check_output_stays, use_all_threads

JOB = {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}


def test_a_job_may_not_write_into_its_own_folder():
    check_output_stays(Path("/shared/results"), JOB)
    check_output_stays(Path("results"), {})
    with pytest.raises(
        UserError, match=r"^output must be absolute in a Ray job, .+ got 'results'; give --output or set PAN"
    ):
        check_output_stays(Path("results"), JOB)


def test_threads_that_a_person_chose_are_left():
    assert use_all_threads({"OMP_NUM_THREADS": "1"}) is None
    assert use_all_threads({**JOB, "OMP_NUM_THREADS": "3"}) is None
    assert use_all_threads({}) is None


@pytest.mark.parametrize("by", [{"PYTHONWARNINGS": "ignore"}, JOB])
def test_threads_that_ray_took_are_given_back(by: dict[str, str]):
    code = (
        "import torch; from study.nodes.submitted import use_all_threads as use; print(use(), torch.get_num_threads())"
    )
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3]), **by}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    said, used = done.stdout.split()
    assert said == used
    assert int(said) >= 1
