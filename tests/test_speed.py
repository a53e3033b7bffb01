"""experiments.speed: its records, the page that is made of them, and that compilation does not grow with length."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from contract import close, noise

from experiments import speed, speed_page, ways
from seqjax import UserError, unroll
from seqjax.cells.lstm import lstm

ROOT = Path(__file__).parents[1]
KINDS = ("forward", "gradient")
MARKS = f"before\n{speed_page.BEGIN}\nold\n{speed_page.END}\nafter\n"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A folder with a record of layers and one of the growth, measured on the smallest sizes."""
    folder = tmp_path_factory.mktemp("speed") / "records"
    common = ["--repeats=2", "--only=hand-written,seqjax scan,seqjax truncated"]
    flags = {
        "a_layers": ["--what=layers", "--sizes=3,2,2,4", *common],
        "b_growth": ["--what=growth", "--lengths=6,3", "--growing=2,2,4", "--only=hand-written", *common[:1]],
    }
    for name, words in flags.items():
        assert speed.main([*words, f"--record={folder / name}.json"]) == 0
    made_up = {"milliseconds": {"1": [1.0, 2.0], "2": [3.0, 6.0]}, "config": "c", "what": "seeds"}
    origin = json.loads((folder / "a_layers.json").read_text())
    startup = {"what": "startup", "seconds": {"import jax": [2.0, 1.0, 4.0]}}
    for number, record in enumerate([made_up, startup]):
        (folder / f"c_{number}.json").write_text(json.dumps(origin | record))
    return folder


def test_the_page_is_what_the_records_say():
    """docs/speed.md as committed; `python -m experiments.speed --what=page` puts it right."""
    page = (ROOT / "docs/speed.md").read_text()
    assert speed_page.rendered(page, speed_page.read(ROOT / "results/speed")) == page
    assert "No number here is from a GPU" in page


def test_every_record_has_its_table(records, tmp_path):
    page = tmp_path / "speed.md"
    page.write_text(MARKS)
    speed_page.update(page, records)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert (tmp_path / speed_page.FIGURE).read_bytes().startswith(b"\x89PNG")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows].count("hand-written lax.scan") == 1 and "- seqjax truncated: strategy" in text
    hand = next(row for row in rows if row[0] == "hand-written lax.scan")
    scan = next(row for row in rows if row[0] == "seqjax scan")
    assert hand[2] == "1.00 [1.00..1.00]" and hand[7] == "" != scan[7]  # the peer has no probe
    assert float(scan[10]) > 0
    assert [row[:2] for row in rows if row[1:2] == ["hand-written lax.scan"]] == [
        ["3", "hand-written lax.scan"],
        ["6", "hand-written lax.scan"],
    ]
    assert ["2", "4.50 [3.00..6.00]", "3.00 [3.00..3.00]"] in rows and ["import jax", "2.00 [1.00..4.00]"] in rows
    speed_page.update(page, records)
    assert page.read_text() == text


def test_a_layer_with_its_batch_split_is_the_same_layer():
    """Of the smallest size, one number a step; gradients are sums over the devices."""
    given = ways.problem("lstm", (5, 4, 1, 3))
    whole, split = (way.calls for way in (ways.own(given, "fused", KINDS), ways.split(given, KINDS)))
    assert jax.device_count() > 1
    for kind in KINDS:
        for one, other in zip(*(jax.tree.leaves(calls[kind]()) for calls in (whole, split)), strict=True):
            close(one, other, 1e-5)
    with pytest.raises(UserError, match="a batch of 3 on 2 devices cannot be split"):
        ways.split(ways.problem("lstm", (5, 3, 1, 3)), KINDS)


def test_a_page_without_marks_is_left_alone(tmp_path):
    with pytest.raises(UserError, match="has no place for the tables"):
        speed_page.rendered("words", [])
    assert "There is no record yet." in speed_page.rendered(MARKS, [])


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--sizes=1,2,3", "--sizes='1,2,3'; expected T,B,D,H, whole numbers from 1"),
        ("--sizes=1,2,3,x", "--sizes='1,2,3,x'; expected"),
        ("--repeats=0", "--repeats=0; expected at least 1"),
        ("--only=nobody", "--only=nobody; expected how names begin"),
        ("--record=/proc/self/x/y.json", "--record in /proc/self/x cannot be written"),
    ],
)
def test_bad_input_is_one_line(flag, says, capsys):
    assert speed.main(["--what=layers", "--sizes=1,1,1,1", flag]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1


@pytest.mark.parametrize("strategy", ["scan", "fused"])
def test_programs_do_not_grow_with_the_length(strategy):
    """What is compiled for 20,000 steps has as many lines as for 20."""
    cell = lstm(4)
    params = cell.init(jax.random.key(0), 2)

    @functools.partial(jax.jit, static_argnums=1)
    def slopes(params, steps):
        xs = jnp.zeros((steps, 1, 1)) + noise(1, 2, 2, dtype=jnp.float32)
        return jax.grad(lambda params: jnp.sum(unroll(cell, params, xs, strategy=strategy)[1] ** 2))(params)

    short, long = (slopes.lower(params, steps).as_text().count("\n") for steps in (20, 20_000))
    assert short == long
