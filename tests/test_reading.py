"""Files of rows without answers: read as the rows that were tested on, refused where they cannot be."""

import jax
import numpy as np
import pytest
from small_data import ROWS, both_written, task_of, written

from seqjax import UserError
from seqjax.tasks.showing import length
from seqjax.training.prediction import in_parts

ANSWERS = {
    "sentiment": "label",
    "tagging": "upos",
    "ner": "tags",
    "translation": "de_tok",
    "spoken_digits": "label",
    "gesture": "label",
    "pixel_images": "label",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_rows_without_answers_are_read_as_those_to_test_on(name, tmp_path):
    for split in ("train", "test"):
        written(tmp_path / f"{split}.jsonl", ROWS[name])
    task = task_of(name, tmp_path)
    tested = jax.device_get(task.examples.batch(task.examples.test))
    alone = tmp_path / "new.jsonl"
    written(alone, {column: values for column, values in ROWS[name].items() if column != ANSWERS[name]})
    batch, spell = task.read(str(alone))
    assert spell is None and batch.mask.ndim == tested.mask.ndim
    parts = list(in_parts(jax.device_get(batch), 2))
    count = tested.mask.shape[-1]
    assert [part.mask.shape[-1] for part in parts] == [2] * (count // 2) + [1] * (count % 2)
    for n in range(count):
        read, part = jax.tree.leaves(parts[n // 2].inputs)[0][:, n % 2], parts[n // 2]
        steps = length(tested, n)
        assert length(part, n % 2) == steps
        np.testing.assert_allclose(read[:steps], jax.tree.leaves(tested.inputs)[0][:steps, n], rtol=1e-6)
        assert task.spell(tested, tested.targets, n) and isinstance(task.spell(part, part.targets, n % 2), list)
    (tmp_path / "tested").mkdir()
    written(tmp_path / "tested" / "test.jsonl", ROWS[name])
    assert task.read(str(tmp_path / "tested"))[0].mask.shape[-1] == count  # of one split, whatever its name
    both_written(name, tmp_path / "both")
    with pytest.raises(UserError, match="has splits train, test; expected one: a file, or a folder of one"):
        task.read(str(tmp_path / "both"))
    written(alone, {"other": ["a", "b"]})
    with pytest.raises(UserError, match=r"has no such column.*columns: other"):
        task.read(str(alone))


@pytest.mark.parametrize("name", ["sentiment", "tagging", "ner", "translation"])
def test_a_bound_on_tokens_holds_for_rows_without_answers(name, tmp_path):
    for split in ("train", "test"):
        written(tmp_path / f"{split}.jsonl", ROWS[name])
    file = str(tmp_path / "test.jsonl")
    any_length = task_of(name, tmp_path).read(file)[0]
    longest = int(any_length.lengths.max())
    bounded = task_of(name, tmp_path, longest=longest)
    assert int(bounded.read(file)[0].lengths.max()) == longest > 1
    twice = {str: lambda text: f"{text} {text}", list: lambda tokens: tokens * 2, int: lambda number: number}
    longer = {column: [twice[type(each)](each) for each in rows] for column, rows in ROWS[name].items()}
    written(tmp_path / "long.jsonl", longer)
    with pytest.raises(UserError, match=f"longest={longest}"):
        bounded.read(str(tmp_path / "long.jsonl"))
    with pytest.warns(UserWarning, match=f"cut to {longest - 1} tokens"):
        cutting = task_of(name, tmp_path, longest=longest - 1, too_long="cut")
    with pytest.warns(UserWarning, match=f"cut to {longest - 1} tokens"):
        assert int(cutting.read(file)[0].lengths.max()) == longest - 1


@pytest.mark.parametrize("written_so", ["at once", "row by row"])
@pytest.mark.parametrize("relative", [True, False])
def test_a_forecast_follows_the_last_rows_in_their_own_units(written_so, relative, tmp_path):
    written(tmp_path / "train.jsonl", ROWS["forecast"])
    task = task_of("forecast", tmp_path, relative=relative, written=written_so)
    new = {name: ROWS["forecast"][name][:9] for name in "ab"}
    written(tmp_path / "new.jsonl", new)
    batch, spell = task.read(str(tmp_path / "new.jsonl"))
    window = jax.tree.leaves(batch.inputs)[0]
    assert window.shape == (4, 1, 2)
    kept = np.array([ROWS["forecast"]["a"], ROWS["forecast"]["b"]]).T[:15]
    mean, deviation = kept.mean(0), kept.std(0)
    rows = (np.array([new["a"], new["b"]]).T - mean) / deviation
    np.testing.assert_allclose(window[:, 0], rows[-4:] - (rows[-1] if relative else 0), atol=1e-5)
    (said,) = spell(np.zeros(batch.targets.shape), 0)
    lines = [line.split() for line in said.splitlines()]
    repeated = [[f"{x:.4g}"] * 2 for x in ((new["a"][-1], 8) if relative else mean)]
    assert lines == [["step", "+1", "+2"], ["a", *repeated[0]], ["b", *repeated[1]]]
    written(tmp_path / "new.jsonl", {name: values[:3] for name, values in new.items()})
    with pytest.raises(UserError, match="has 3 rows; expected at least window=4"):
        task.read(str(tmp_path / "new.jsonl"))
