"""What reads one sequence and writes another: attention, decoding, and the two together."""

import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close, noise
from test_data import own_cache  # noqa: F401  (a fixture of every test)
from test_text import complaint, whole

from seqjax.cells.gru import gru
from seqjax.cells.lstm import lstm
from seqjax.data.translation import bleu, translation
from seqjax.gradients.adjoints import record
from seqjax.models import encoder_decoder
from seqjax.models.attention import attend, attention
from seqjax.models.decoding import beam, greedy, narrowed, sampled, without
from seqjax.types import Pair, UserError

S, U, B, V, MOST = 5, 4, 3, 4, 4
LSTM = lstm(3)
LENGTHS = jnp.array([5, 1, 3])


# Attention


@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
def test_attention_is_that_of_a_loop(kind, float64):
    """Scores, weights and context, place by place; places that do not exist weigh nothing, whatever they hold."""
    module, query = attention(kind, 6), noise(1, B, 6)
    encoded = noise(2, B, S, 3)
    params = jax.jit(module.init)(jax.random.key(0), query, encoded)
    exists = np.arange(S) < np.asarray(LENGTHS)[:, None]
    dirty = jnp.where(exists[..., None], encoded, 1e30)

    @jax.jit
    def weigh(encoded):
        projected = module.apply(params, encoded, method="project")
        return attend(module.apply(params, query, projected, method="scores"), encoded, exists)

    context, weights = weigh(encoded)
    kernels = {name: np.asarray(each["kernel"]) for name, each in params["params"].items()}
    for b in range(B):
        scores = []
        for s in range(int(LENGTHS[b])):
            q, k = np.asarray(query[b]), np.asarray(encoded[b, s])
            if kind == "additive":
                scores.append((np.tanh(q @ kernels["w"] + k @ kernels["u"]) @ kernels["v"]).item())
            else:
                scores.append(q @ (k @ kernels["w"]))
        share = np.exp(scores) / np.sum(np.exp(scores))
        np.testing.assert_allclose(weights[b, : len(share)], share, rtol=1e-6)
        assert not weights[b, len(share) :].any()
        np.testing.assert_allclose(context[b], share @ np.asarray(encoded[b, : len(share)]), rtol=1e-6)
    close(weigh(dirty)[1], weights, 1e-12)


# Decoding, of a step whose chances are a table: what was said, and how many steps there were


def table_step(seed, symbols=V):
    """A step whose logits depend on the token, on the number of steps taken, on the memory and on a hidden sum."""
    tables = jnp.asarray(noise(seed, 50, symbols, symbols) * 1.5)

    def step(memory, state, token):
        number, total = state
        total = 0.7 * total + memory * (1.0 + token)
        return (number + 1, total), tables[number, token] + jnp.sin(total)[:, None] * jnp.arange(symbols)

    return step


def begun(count=B):
    memory = 0.3 * (1.0 + jnp.arange(count))
    return memory, (jnp.zeros(count, jnp.int32), jnp.zeros(count)), jnp.ones(count, jnp.int32)


def enumerated(step, memory, begin, b, most):
    """Every sequence up to `most` symbols, ended by 0 or as long as that: {symbols: log chance}, by a plain loop."""
    found = {}

    def extend(said, state, token, score):
        state, logits = step(memory[b : b + 1], state, jnp.asarray([token]))
        chances = np.asarray(jax.nn.log_softmax(logits))[0]
        for symbol in range(V):
            longer, total = (*said, symbol), score + chances[symbol]
            if symbol == 0 or len(longer) == most:
                found[longer] = total
            else:
                extend(longer, state, symbol, total)

    extend((), (jnp.zeros(1, jnp.int32), jnp.zeros(1)), int(begin[b]), 0.0)
    return found


def read_out(decoded, b):
    return tuple(int(token) for token in decoded.tokens[: int(decoded.lengths[b]), b])


def test_a_beam_of_all_sequences_is_exhaustive_search():
    """The best of all there are, with its score; with a length penalty too. Each ends with 0 or is cut at 3."""
    step, (memory, state, begin) = table_step(0), begun()
    step = jax.jit(step)
    search = jax.jit(functools.partial(beam, step, end=0, most=3, width=64, length_penalty=0.8))
    best, kept = search(memory, state, begin)
    for b in range(B):
        every = enumerated(step, memory, begin, b, 3)
        worth = {said: score / len(said) ** 0.8 for said, score in every.items()}
        top = max(worth, key=worth.get)
        assert read_out(best, b) == top
        assert float(best.score[b]) == pytest.approx(every[top], abs=1e-5)
        finite = np.isfinite(np.asarray(kept.score[b]))
        assert finite.sum() == len(every)
        np.testing.assert_allclose(np.sum(np.exp(kept.score[b][finite])), 1, rtol=1e-5)


def test_a_beam_of_one_is_greedy_and_greedy_is_the_loop():
    step, (memory, state, begin) = table_step(3), begun()
    one = jax.jit(functools.partial(greedy, step, end=0, most=12))(memory, state, begin)
    other, _ = jax.jit(functools.partial(beam, step, end=0, most=12, width=1))(memory, state, begin)
    close(one._asdict(), other._asdict(), 1e-5)
    ended = []
    for b in range(B):
        said, total, token = [], 0.0, 1
        state = (jnp.zeros(1, jnp.int32), jnp.zeros(1))
        while len(said) < 12 and (not said or said[-1] != 0):
            state, logits = step(memory[b : b + 1], state, jnp.asarray([token]))
            token = int(jnp.argmax(logits))
            total += float(jax.nn.log_softmax(logits)[0, token])
            said.append(token)
        assert read_out(one, b) == tuple(said) and not np.asarray(one.tokens)[len(said) :, b].any()
        assert float(one.score[b]) == pytest.approx(total, abs=1e-4)
        ended.append(said[-1] == 0)
    assert any(ended)


def test_n_symbols_cost_n_steps():
    """The step is called as often as the longest sequence has symbols, and not once more."""
    calls = []

    def step(memory, state, token):
        jax.debug.callback(lambda: calls.append(1))
        logits = jnp.where(state[0][:, None] >= 4, jnp.array([9.0, 0, 0, 0]), jnp.array([0.0, 0, 9, 0]))
        return (state[0] + 1, state[1]), logits

    decoded = jax.jit(functools.partial(greedy, step, end=0, most=50))(*begun())
    jax.block_until_ready(decoded)
    jax.effects_barrier()
    assert len(calls) == 5 and decoded.lengths.tolist() == [5] * B


def test_what_may_be_drawn():
    logits = jnp.log(jnp.array([[0.5, 0.3, 0.15, 0.05]]))
    kept = lambda **options: np.isfinite(np.asarray(narrowed(logits, **options)))[0].tolist()  # noqa: E731
    assert kept(top_k=2, top_p=None) == [True, True, False, False]
    assert kept(top_k=None, top_p=0.5) == [True, False, False, False]
    assert kept(top_k=None, top_p=0.51) == [True, True, False, False]
    assert kept(top_k=None, top_p=1.0) == kept(top_k=9, top_p=None) == [True] * 4
    assert kept(top_k=3, top_p=0.9) == [True, True, True, False]  # of .53, .32 and .16
    for options in ({"temperature": 0.0}, {"top_k": 0}, {"top_p": 1.5}):
        with pytest.raises(UserError, match=f"{next(iter(options))}="):
            sampled(jax.random.key(0), table_step(0), *begun(), end=0, most=2, **options)


def test_samples_come_as_often_as_they_should():
    """Sequences of up to two symbols against their chances; cold ones are greedy; forbidden ones never come."""
    count = 20000
    tables, start = jax.jit(table_step(5)), begun(1)
    memory, state, begin = jax.tree.map(lambda leaf: jnp.repeat(leaf, count, 0), start)
    draw = jax.jit(functools.partial(sampled, step=tables, end=0, most=2), static_argnames="temperature")
    drawn = draw(jax.random.key(0), memory=memory, state=state, begin=begin)
    said = [read_out(drawn, b) for b in range(400)]
    codes = np.asarray(drawn.tokens[0] * V + drawn.tokens[1])
    for symbols, score in enumerated(tables, start[0], start[2], 0, 2).items():
        code = symbols[0] * V + (symbols[1] if len(symbols) > 1 else 0)
        assert abs((codes == code).mean() - np.exp(score)) < 5 * (np.exp(score) / count) ** 0.5
    assert all(len(each) == 2 or each == (0,) for each in said)
    cold = draw(jax.random.key(1), memory=memory, state=state, begin=begin, temperature=1e-4)
    one = jax.jit(functools.partial(greedy, tables, end=0, most=2))(*start)
    assert (np.asarray(cold.tokens) == np.asarray(one.tokens)).all()
    never = jax.jit(functools.partial(greedy, without(tables, (0, 2)), end=0, most=6))(*start)
    assert not set(never.tokens[:, 0].tolist()) & {0, 2}


# The two together


@functools.cache
def built(cell=None, **options):
    """A translator from 7 symbols to V, its functions, and parameters without zeros."""
    made = encoder_decoder(cell or LSTM, 7, V, embedding=2, longest=MOST, strategy="scan", **options)
    leaves, form = jax.tree.flatten(jax.eval_shape(made.model.init, jax.random.key(0)))
    return made, jax.tree.unflatten(form, [0.7 * noise(n, *leaf.shape) for n, leaf in enumerate(leaves)])


SOURCE = jnp.asarray(np.random.default_rng(0).integers(0, 7, (S, B)))
SAID = jnp.asarray(np.random.default_rng(1).integers(0, V, (U, B)))
FORMS = [
    {"attention_kind": "additive"},
    {"attention_kind": "multiplicative", "bidirectional": False, "cell": gru(3), "layers": 2},
    {"attention_kind": "none", "bidirectional": False},
]


@pytest.mark.parametrize("form", range(len(FORMS)))
def test_what_is_written_step_by_step_is_what_is_read_at_once(form):
    """Teacher forcing in one scan, and the decoder's own steps; padding, whatever it holds, is invisible to both."""
    made, params = built(**FORMS[form])

    @jax.jit
    def both(params, source):
        def loss(params):
            outputs = made.model.apply(params, Pair(source, SAID), LENGTHS)[0]
            return jnp.sum(jnp.sin(outputs)), outputs

        (_, at_once), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        memory, state = made.start(params, source, LENGTHS)
        _, steps = jax.lax.scan(lambda state, token: made.step(params, memory, state, token), state, SAID)
        return at_once, made.weights(params, Pair(source, SAID), LENGTHS), steps, gradient

    at_once, weights, (logits, step_weights), gradient = both(params, SOURCE)
    assert at_once.shape == (U, B, V) and weights.shape == (U, B, S)
    close(logits, at_once, 3e-6)
    close(step_weights, weights, 3e-6)
    exists = np.arange(S) < np.asarray(LENGTHS)[:, None]
    if FORMS[form]["attention_kind"] == "none":
        assert not np.asarray(weights).any()
    else:
        np.testing.assert_allclose(np.asarray(weights).sum(-1), 1, rtol=1e-5)
        assert not np.asarray(weights)[:, ~exists].any()
    padded = jnp.where(jnp.arange(S)[:, None] < LENGTHS, SOURCE, 3)
    other = both(params, padded)
    close(other[:2], (at_once, weights), 1e-6)
    close(other[-1], gradient, 2e-5)


def test_a_probe_finds_the_encoder():
    """By way of the model's layers, as in any other model, the answers are the same."""
    made, params = built(**FORMS[2])

    @jax.jit
    def both(params):
        inputs = Pair(SOURCE, SAID)
        ys = record(made.model.layers(params), made.model.encode(params, inputs), LENGTHS)[1]
        return made.model.read(params, ys, LENGTHS, inputs), made.model.apply(params, inputs, LENGTHS)[0]

    close(*both(params), 3e-6)


def test_the_model_writes_what_its_steps_say():
    """`decode` is the greedy loop over `step`, without <begin> and <unk>."""
    made, params = built()
    decode = jax.jit(made.model.decode)(params, Pair(SOURCE, SAID), LENGTHS)
    memory, state = jax.jit(made.start)(params, SOURCE, LENGTHS)
    step = jax.jit(made.step)
    token, ended = jnp.ones(B, jnp.int32), np.zeros(B, bool)
    for u in range(MOST):
        state, (logits, _) = step(params, memory, state, token)
        token = jnp.asarray(np.asarray(logits)[:, [0, 3]].argmax(-1) * 3)
        np.testing.assert_array_equal(decode[u], np.where(ended, 0, token))
        ended |= np.asarray(decode[u]) == 0


def test_teacher_forcing_by_share():
    """All forced is teacher forcing; none forced reads what was said before; dropout needs its key."""
    made, params = built()
    key = jax.random.key(0)
    plain = jax.jit(lambda said: made.model.apply(params, Pair(SOURCE, said), LENGTHS)[0])
    apply = jax.jit(lambda share: made.model.apply(params, Pair(SOURCE, SAID), LENGTHS, dropout_key=key,
                                                   teacher_forcing=share)[0])  # fmt: skip
    close(apply(1.0), plain(SAID), 3e-6)
    own = apply(0.0)
    said = jnp.concatenate([SAID[:1], jnp.argmax(own, -1)[:-1]])
    close(own, plain(said), 3e-6)
    with pytest.raises(UserError, match="teacher_forcing needs a dropout_key"):
        made.model.apply(params, Pair(SOURCE, SAID), LENGTHS, teacher_forcing=0.5)


def test_wrong_settings_are_told():
    for options, says in [
        ({"attention_kind": "luong"}, "attention='luong'; expected 'additive', 'multiplicative' or 'none'"),
        ({"layers": 0}, "layers=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"beam_width": 0}, "beam=0"),
    ]:
        with pytest.raises(UserError, match=says):
            encoder_decoder(lstm(3), 7, V, embedding=2, **options)


# Translation

PAIRS = [("a b c", "x y"), ("b a", "y x z"), ("c", "z"), ("a c b a", "x z y x")]


def sentences(folder, train=PAIRS, test=PAIRS[:2], names=("en_tok", "de_tok")):
    folder.mkdir(exist_ok=True)
    for split, rows in (("train", train), ("test", test)):
        lines = [json.dumps(dict(zip(names, row))) for row in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder)


def test_a_pair_is_what_is_read_and_what_is_written(tmp_path):
    task = translation(sentences(tmp_path / "d", test=[("a q", "x w")]))
    batch = whole(task)
    reads, writes = ["<unk>", "a", "b", "c"], ["<end>", "<begin>", "<unk>", "x", "y", "z"]
    assert (task.input_size, task.output_size, task.readout) == (4, 6, "decode")
    for b, (source, target) in enumerate(PAIRS):
        tokens = [*target.split(), "<end>"]
        assert [reads[n] for n in batch.inputs.source[: batch.lengths[b], b]] == source.split()
        assert [writes[n] for n in batch.targets[: len(tokens), b]] == tokens
        assert [writes[n] for n in batch.inputs.said[: len(tokens), b]] == ["<begin>", *tokens[:-1]]
        np.testing.assert_array_equal(batch.mask[:, b], np.arange(len(batch.mask)) < len(tokens))
        assert task.spell(batch, batch.targets, b) == target.split()
    test = whole(task, "test")
    assert test.inputs.source[:2, 0].tolist() == [1, 0] and test.targets[:3, 0].tolist() == [3, 2, 0]
    steps = task.examples.steps(task.examples.train)
    np.testing.assert_array_equal(steps, [3, 4, 2, 5])
    counts = np.array([4, 3, 3, 4])  # x, y, z and the ends
    share = counts / counts.sum()
    assert task.baseline == pytest.approx(-(share * np.log(share)).sum())
    parsed = task.parse(["b q a", "c"])
    assert parsed.inputs.source.T.tolist() == [[2, 0, 1], [3, 0, 0]] and parsed.lengths.tolist() == [3, 1]
    assert task.show(batch, 0).splitlines() == ["source   a b c", "target   x y"]


def test_translations_are_graded_by_sacrebleu(tmp_path):
    pytest.importorskip("sacrebleu")
    truth = [["a", "b", "c", "d", "e"], ["a", "b", "c", "d", "f"]]
    assert bleu(truth, truth, [5, 12])["BLEU"] == pytest.approx(100)
    scores = bleu(truth, [truth[0], ["a", "b", "x", "d", "f"]], [5, 12])
    assert list(scores) == ["BLEU", "BLEU 1-10", "BLEU 11-15"]
    right = [9 / 10, 6 / 8, 3 / 6, 2 / 4]  # of all n-grams, those that are there, n = 1 to 4
    assert scores["BLEU"] == pytest.approx(100 * np.prod(right) ** 0.25)
    assert scores["BLEU 1-10"] == pytest.approx(100)


def test_bad_pairs_are_told_by_their_number(tmp_path):
    where = sentences(tmp_path / "d", [*PAIRS, ("a", " ")])
    assert "row 4 of column 'de_tok' of split 'train' holds ' '; expected a text" in complaint(translation, data=where)
    where = sentences(tmp_path / "e")
    text = complaint(translation, data=where, longest=3)
    assert "row 3 of column 'en_tok' of split 'train' has 4 tokens" in text
    assert "source='de': data=" in complaint(translation, data=where, source="de")


def test_all_beams_agree_on_what_they_keep():
    """Every hypothesis of a beam is a sequence of its own, best first, and its score is that of its symbols."""
    step, (memory, state, begin) = jax.jit(table_step(7)), begun()
    _, kept = jax.jit(functools.partial(beam, step, end=0, most=5, width=6))(memory, state, begin)
    for b in range(B):
        sequences = {tuple(kept.tokens[: int(n), b, k].tolist()): float(kept.score[b, k])
                     for k, n in enumerate(kept.lengths[b])}  # fmt: skip
        assert len(sequences) == 6 and list(sequences.values()) == sorted(sequences.values(), reverse=True)
        for said, score in itertools.islice(sequences.items(), 3):
            total, token, at = 0.0, 1, (jnp.zeros(1, jnp.int32), jnp.zeros(1))
            for symbol in said:
                at, logits = step(memory[b : b + 1], at, jnp.asarray([token]))
                total, token = total + float(jax.nn.log_softmax(logits)[0, symbol]), symbol
            assert score == pytest.approx(total, abs=1e-4)


def test_a_translator_is_trained_and_then_answers(tmp_path, capsys):
    """Two steps with dropout and a teacher who gives less and less; then the test split, and a text typed."""
    from experiments import predict
    from seqjax.training import Config, prepare, train
    from seqjax.training.prediction import restore

    pytest.importorskip("sacrebleu")
    alike = [("a b", "x y"), ("b a", "y x"), ("a c", "z x"), ("c b", "z z")]
    where = sentences(tmp_path / "d", alike, alike)
    config = Config(
        cell="rnn(hidden=3)", task=f"translation(data={where!r})", embedding=2, steps=2, batch_size=2, eval_every=1,
        eval_size=2, probe_size=1, input_dropout=0.2, beam=2, strategy="scan",
        teacher_forcing="linear_schedule(end_value=0.5, transition_steps=2)",
    )  # fmt: skip
    result = train(prepare(config, "map"), tmp_path / "run", command="")
    assert result["runs"][0]["steps"] == 2 and np.isfinite(result["runs"][0]["loss"])
    assert predict.main([str(tmp_path / "run"), "--samples=1"]) == 0
    said = capsys.readouterr().out
    assert "source   " in said and "answer   " in said and "BLEU " in said
    assert "BLEU" in json.loads((tmp_path / "run" / "grades-0.json").read_text())
    assert predict.main([str(tmp_path / "run"), "--text=a b", "--text=c"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and set(" ".join(lines).split()) <= {"x", "y", "z"}
    assert predict.main([str(tmp_path / "run"), "--run=1"]) == 2
    assert "--run=1; " in capsys.readouterr().err
    assert predict.main([str(tmp_path)]) == 2 and "expected a run directory" in capsys.readouterr().err
    with pytest.raises(UserError, match="writes no sequence"):
        prepare(Config(cell="rnn(hidden=3)", task="adding", teacher_forcing="constant_schedule(value=0.5)"))
    assert restore(tmp_path / "run")[0].config == config
