"""What every test stands on: the CPU as two devices, compiled programs shared, 64-bit numbers where asked for."""

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path

import jax
import pytest

# Most of the time of a small test is compilation. Equal programs that take long are compiled once for all tests,
# for all workers, and for the scripts that tests start; to keep every small one as well took a tenth of the time.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# What is left is compiled with little optimization, in half the time; a test that must see the programs of a
# user's own process starts one without these flags. (JAX 0.11 has but one way to emit a fusion.) One thread a
# product, as the scripts ask for several runs: then a script's process and a test's compile alike, to the bit.
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
QUICK += " --xla_cpu_multi_thread_eigen=false"
if jax.__version_info__ < (0, 11):
    QUICK += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", QUICK)
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)  # as the scripts do, for the layouts of the run axis


# No test reaches the hub of data sets, and what `datasets` keeps of a test's files goes with the process.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp(prefix="seqjax-tests-")
atexit.register(shutil.rmtree, os.environ["HF_DATASETS_CACHE"], ignore_errors=True)


@pytest.fixture
def float64():
    """64-bit numbers for the length of a test, so that tolerances can be those of exact arithmetic."""
    with jax.enable_x64(True):
        yield


def pytest_collection_finish():
    """What was imported stays: it need not be looked through again and again for what could be freed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(scope="module", autouse=True)
def programs_of_one_file():
    """The compiled programs of a file go with it; a worker that keeps those of all files has 4 GB of them."""
    yield
    jax.clear_caches()
