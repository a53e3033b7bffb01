"""experiments.generate: which symbols it draws from, as the flags say."""

import jax
import numpy as np
import pytest
from small_data import both_written
from small_runs import SMALL

from experiments import generate
from seqjax.training import prepare, train
from seqjax.training.prediction import restore

STEPS = 300


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A directory of a run that has learned little, so that no symbol is unlikely; and the ranks of what it wrote."""
    folder = tmp_path_factory.mktemp("generating")
    (folder / "text.txt").write_text("the cat sat\nthe dog ran off\n" * 4)
    task = f"char_lm(data={str(folder / 'text.txt')!r}, window=9)"
    config = SMALL._replace(task=task, learning_rates=(0.01,), seeds=1, steps=2)
    train(prepare(config, "map"), folder / "run", command="test")
    prepared, params = restore(folder / "run")
    apply = jax.jit(prepared.model.apply)

    def ranks(text, read):
        """How many symbols were likelier than each but the first `read`, after all before it."""
        tokens = np.asarray(prepared.task.continuation.prompt(text))
        outputs = np.asarray(apply(params, tokens[:-1])[0])
        likelier = outputs > np.take_along_axis(outputs, tokens[1:, :, None], -1)
        return likelier.sum(-1)[read - 1 :, 0].tolist()

    return str(folder / "run"), ranks, prepared.task.output_size


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ([], None),
        (["--temperature=1e-6"], 1),
        (["--top_k=1"], 1),
        (["--top_p=1e-6"], 1),
        (["--top_k=3", "--top_p=0.5"], 2),
    ],
)
def test_what_is_written_is_drawn_from_the_likeliest(flags, kept, run, capsys):
    """From all symbols; where it is cold, from the likeliest; of three about as likely two make up the half."""
    directory, ranks, symbols = run
    assert generate.main([directory, "--prompt=the", f"--steps={STEPS}", *flags]) == 0
    found = ranks(capsys.readouterr().out[:-1], read=3)
    assert len(found) == STEPS and set(found) == set(range(kept or symbols))


def test_more_than_memory_holds_is_refused_before_it_is_made(run, capsys):
    assert generate.main([run[0], "--samples=2147483647", "--steps=2147483647"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: --samples=2147483647 of --steps=2147483647 need ") and err.count("\n") == 1


def test_flags_of_chance_are_refused_where_there_is_none(tmp_path, capsys):
    """Points are what the network says, and no draw."""
    task, place = f"drawing(data={both_written('drawing', tmp_path / 'd')!r})", str(tmp_path / "run")
    train(
        prepare(SMALL._replace(task=task, learning_rates=(0.01,), seeds=1, steps=2), "map"),
        tmp_path / "run",
        command="",
    )
    assert generate.main([place, "--steps=2", "--seed=3"]) == 0
    assert generate.main([place, "--steps=2", "--temperature=0.5", "--top_k=3"]) == 2
    assert "--temperature, --top_k: --task=" in (err := capsys.readouterr().err) and "by no chances" in err
