"""experiments.scaling: the page that its records make, the bytes that it counts, and the sums on paper."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from experiments import scaling, scaling_page
from experiments.scaling_page import Link, allreduce_seconds, waves
from seqjax import UserError
from seqjax.training.layout import make_layout

ROOT = Path(__file__).parents[1]


def test_the_page_is_what_the_records_say():
    """docs/scaling.md as committed; `python -m experiments.scaling --what=page` puts it right."""
    page, records = (ROOT / "docs/scaling.md").read_text(), scaling_page.read(ROOT / "results/scaling")
    assert scaling_page.rendered(page, records) == page
    assert list(records) == ["runs", "devices", "processes"]
    with pytest.raises(UserError, match="has no place for the tables"):
        scaling_page.rendered("words", records)


def test_one_process_by_itself_keeps_its_record(tmp_path, capsys):
    """What it prints, and how it was made; the page passes over it."""
    flags = ["--cell=rnn(hidden=2)", "--task=adding(length=2)", "--batch_size=2", "--seeds=1", "--train_steps=1"]
    kept = tmp_path / "records" / "one.json"
    assert scaling.main(["--what=one", *flags, "--repeats=1", "--mesh=run=1", f"--record={kept}"]) == 0
    record, said = json.loads(kept.read_text()), json.loads(capsys.readouterr().out)
    assert said.items() <= record.items() and len(said["milliseconds"]) == record["repeats"] == 1
    assert record["what"] == "one" and "--mesh=run=1" in record["command"] and record["environment"]
    assert scaling_page.read(kept.parent) == {}


def test_what_is_exchanged_is_counted():
    """By hand: a sum of 3 x 5 float32, and 4 float32 from each of two devices gathered."""

    def exchange(x, y):
        return jax.lax.psum(x, "data"), jax.lax.all_gather(y, "data", tiled=True)

    mesh = make_layout("data=2", 1, 2).mesh
    spread = jax.jit(jax.shard_map(exchange, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False))
    text = spread.lower(jnp.ones((3, 5)), jnp.ones(4)).compile().as_text()
    assert scaling.collectives(text, 2) == {"all-reduce": 60, "all-gather": 32}


def test_sums_on_paper():
    assert allreduce_seconds(1000, 1, Link("", 1.0, 1.0)) == 0
    assert allreduce_seconds(1000, 2, Link("", 0.5, 4000.0)) == pytest.approx(2 * (0.5 + 0.5))
    assert waves(30, 256, 8) == 1 and waves(30, 256, 40) == 5 and waves(30, 256, 10) == 2


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--what=everything", "--what=everything"),
        ("--numbers=1,two", "--numbers=1,two; expected whole numbers"),
        ("--numbers=", "--numbers=; expected whole numbers from 1"),
        ("--numbers=2,0", "--numbers=2,0; expected whole numbers from 1"),
        ("--numbers=1,1", "--numbers=1,1; expected whole numbers from 1, each once"),
        ("--numbers=1,2 --what=one", "--numbers=1,2 is for the other --what"),
        ("--repeats=0", "--repeats=0; expected at least 1"),
        ("--mesh=run=2", "--mesh=run=2 is for --what=one"),
        ("--record=/proc/self/x/y.json", "--record in /proc/self/x cannot be written"),
    ],
)
def test_bad_input_is_one_line(flag, says, capsys):
    assert scaling.main(["--what=runs", *flag.split()]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1
