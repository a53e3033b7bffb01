"""experiments.speed: its records, the page that is made of them, and that compilation does not grow with length."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close, noise

from experiments import growth, pages, peers, speed, speed_bars, speed_page, timing, torch_peers, ways
from seqjax import UserError, unroll
from seqjax.cells.lstm import lstm

ROOT = Path(__file__).parents[1]
KINDS = ("forward", "gradient")
BEGIN, END = pages.marks(speed_page.FOLDER)
MARKS = f"before\n{BEGIN}\nstale\n{END}\nafter\n"


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
    assert text.startswith("before\n") and text.endswith("after\n") and "stale" not in text
    assert (tmp_path / speed_page.FIGURE).read_bytes().startswith(b"\x89PNG")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows].count("hand-written lax.scan") == 1 and "- seqjax truncated: strategy" in text
    hand = next(row for row in rows if row[0] == "hand-written lax.scan")
    scan = next(row for row in rows if row[0] == "seqjax scan")
    assert hand[2] == "1.00 [1.00..1.00]" and hand[9] == "" != scan[9]  # the peer has no probe
    assert float(scan[12]) > 0
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


@pytest.mark.parametrize("kind", ways.CELLS)
def test_what_is_compared_is_the_same_layer(kind):
    """Outputs and gradients of every peer that is installed; one that has another equation says so."""
    given = ways.problem(kind, (5, 3, 2, 4))
    ours = ways.own(given, "scan", KINDS).calls
    found = peers.ways(given, [*peers.LAYERS, "torch"], KINDS)
    there = {name: way for name, way in found.items() if not isinstance(way, str)}
    assert {"hand-written lax.scan", "flax.linen"} <= set(there)
    for way in there.values():
        for name in KINDS:
            jax.tree.map(lambda mine, theirs: close(mine, theirs, 1e-5), ours[name](), way.calls[name]())
    told = {"rnn": {"haiku", "equinox"}, "gru": {"haiku"}, "lstm": set()}[kind]
    assert told <= {name for name, why in found.items() if isinstance(why, str) and "No module" not in why}


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_flashrnn_is_the_same_layer(kind):
    """By its reference, where it is installed; elsewhere, and without a GPU, it is told why it is not timed."""
    given = ways.problem(kind, (5, 3, 2, 4))
    assert jax.default_backend() == "gpu" or isinstance(peers.ways(given, ["FlashRNN"])["FlashRNN"], str)
    pytest.importorskip("flashrnn")
    one, other = ways.own(given, "scan", KINDS).calls, torch_peers.flashrnn(given, "vanilla").calls
    for name in KINDS:
        jax.tree.map(lambda ours, theirs: close(ours, theirs, 1e-5), one[name](), other[name]())


def test_the_products_alone_are_those_of_a_layer():
    """One product forwards for each step, in which the one before is seen; one for the weights, over all steps."""
    given = ways.problem("lstm", (3, 2, 5, 4))
    calls = ways.products(given, KINDS).calls
    w, h, slopes = np.concatenate([given.params.w_x, given.params.w_h]), np.zeros((2, 4)), 0
    for x, a in zip(np.asarray(given.xs), np.asarray(calls["forward"]()), strict=True):
        rows = np.concatenate([x, h], -1)
        close(rows @ w, a, 1e-5)
        h, slopes = a[:, :4], slopes + rows.T @ a
    found = calls["gradient"]()[1]
    close(slopes, np.concatenate([found.w_x, found.w_h]), 1e-5)


def test_an_update_leaves_none_of_the_products_out(monkeypatch):
    """Nor one of several: a loop forwards and a loop backwards, as where the gradient alone is asked for."""
    loops = []

    def counted(function, *at):
        program = jax.jit(function).lower(*at).compile()
        loops.append(program.as_text().count(" while("))
        return program, 0.0

    monkeypatch.setattr(ways, "compiled", counted)
    ways.products(ways.problem("lstm", (3, 2, 5, 4)), ("gradient", "step", "steps"))
    assert loops == [2, 2, 3]


def test_torch_is_timed_where_it_computes(monkeypatch):
    """No call copies what it gives to the host, as no way of JAX does; from a GPU that takes long."""
    torch = pytest.importorskip("torch")
    calls = torch_peers.torch(ways.problem("lstm", (3, 2, 2, 4))).calls
    with monkeypatch.context() as patched:
        for name in ("cpu", "numpy"):
            patched.setattr(torch.Tensor, name, lambda *_: pytest.fail("copied"))
        for call in calls.values():
            call()


def test_by_length_each_way_is_made_once(monkeypatch):
    """Also one whose name begins as another's does; and one that is not within the budget is not made at all."""
    made = []
    way = ways.Way({"gradient": lambda: None}, {}, {})
    for name in ("seqjax fused", "seqjax fused, batch split"):
        monkeypatch.setitem(peers.MAKERS, name, lambda given, kinds, name=name: made.append(name) or way)
    found = growth.with_length("lstm", (2, 2, 4), [3], ["seqjax fused"], 1, 9.0)["lengths"]["3"]
    assert made == list(found) == ["seqjax fused", "seqjax fused, batch split"]


def test_who_is_not_installed_is_said(monkeypatch, capsys):
    """Where nobody else is asked for; as a name that nobody has is refused, whatever is timed."""

    def missing(given, kinds):
        raise ModuleNotFoundError("No module named 'torch'")

    monkeypatch.setitem(peers.MAKERS, "torch", missing)
    assert speed.main(["--what=layers", "--sizes=1,1,1,1", "--only=torch"]) == 2
    assert capsys.readouterr().err == "error: torch: No module named 'torch'\n"
    assert speed.main(["--what=growth", "--lengths=3", "--only=nobody"]) == 2
    assert "--only=nobody; expected how names begin: seqjax scan, " in capsys.readouterr().err


def test_ways_are_timed_in_an_order_of_each_repetitions_own():
    """Each once a repetition; none always first, nor always after the same."""
    called = []
    found = timing.interleaved({name: functools.partial(called.append, name) for name in "abc"}, 20, lambda *_: None)
    rounds = ["".join(called[n : n + 3]) for n in range(3, 63, 3)]
    assert called[:3] == ["a", "b", "c"] and {"".join(sorted(each)) for each in rounds} == {"abc"}
    assert len(set(rounds)) == 6 and [len(times) for times in found.values()] == [20] * 3


def test_bars_are_judged_by_the_median_of_the_ratios():
    """Ours at half of torch's time and at three quarters of linen's; the probe costs half as much again."""
    theirs = {"torch": [2.0, 8.0], "flax.linen": [4 / 3, 16 / 3]}
    ours = {"seqjax fused": [1.0, 4.0], "seqjax scan": [3.0, 9.0]}
    milliseconds = dict.fromkeys(("forward", "gradient", "step", "steps"), ours | theirs)
    milliseconds["probe"] = {"seqjax fused": [1.5, 6.0]}
    record = {"what": "layers", "layer": "lstm", "sizes": {"1,2,3,4": {"milliseconds": milliseconds}}}
    on = lambda platform: {"environment": {"device": {"platform": platform}}}  # noqa: E731
    seeds = {"what": "seeds", "config": "c", "milliseconds": {"1": [1.0], "8": [5.0]}}
    said = speed_bars.reached([record | on("cpu"), seeds | on("cpu")])
    line = "| lstm | 1,2,3,4 | fused | **0.50** | **0.50** | 0.75 | **0.50** | 0.75 |  | 1.50 |"
    assert line in said[2] and "8 runs trained together take 5.00 times one" in said[3]
    assert speed_bars.reached([record | on("gpu")]) == [] == speed_bars.reached([])


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
        ("--runs=-3", "--runs=-3; expected at least 1"),
        ("--only=nobody", "--only=nobody; expected how names begin"),
        ("--record=/proc/self/x/y.json", "--record in /proc/self/x cannot be written"),
        ("--record=/proc/self/x.json", "--record in /proc/self cannot be written"),
        ("--record=/proc/self", "--record=/proc/self is a folder; expected a file"),
    ],
)
def test_bad_input_is_one_line(flag, says, capsys):
    assert speed.main(["--what=layers", "--sizes=1,1,1,1", flag]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1


def test_growth_of_no_length_is_refused_by_the_form_of_one(capsys):
    assert speed.main(["--what=growth", "--lengths="]) == 2
    assert "--lengths=''; expected T, whole numbers from 1" in capsys.readouterr().err


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
