"""What the experiments share: the LSTM of 1997, online learning, and a row whose training sequences are counted."""

from collections.abc import Mapping

from seqjax.papers.row import NOTHING, Row

UNIFORM = "recurrent_init='uniform', recurrent_scale={scale}, input_init='uniform', input_scale={scale}"
LSTM = "lstm(hidden={hidden}, {forms}forget_gate=False, input_activation='hs97_g', output_activation='hs97_h', "
ALL = "full_gate_recurrence=True, gates_to_input=True, "
BLOCKS = ALL + "block_size=2, "
ONLINE = {"optimizer": "sgd", "batch_size": 1, "clip_norm": None, "seeds": 10, "eval_every": 500, "eval_size": 1000}
ONLINE |= {"stop_when_decided": True}
OURS = "gradients are full, the paper's truncated at the cell's borders; "
RATES = "our loss is a mean over steps, so that our rates are above the paper's by about the length; "
COUNTED = "the paper's {weights} weights: {blocks} blocks of two cells, all units see all units; "


def lstm(hidden: int, forms: str = "", scale: float = 0.1) -> str:
    """The spec of the LSTM of 1997, of so many cells, its weights drawn from ±scale."""
    return LSTM.format(hidden=hidden, forms=forms) + UNIFORM.format(scale=scale) + ")"


def rnn(hidden: int, scale: float = 0.1) -> str:
    """The spec of a fully recurrent network with weights from the same range."""
    return f"rnn(hidden={hidden}, {UNIFORM.format(scale=scale)})"


def budget(rates: tuple[float, ...], steps: int, **others: object) -> dict[str, object]:
    """The settings of online learning at a grid of rates, for so many sequences at most."""
    every = min(steps, 100_000)
    return ONLINE | {"learning_rates": rates, "steps": steps, "checkpoint_every": every, "probe_every": steps} | others


def counted(
    name: str, cell: str, task: str, number: float, settings: Mapping, known: str, cpu: Mapping = NOTHING
) -> Row:
    """A row that counts training sequences until the task is solved."""
    return Row(name, cell, task, "sequences", number, "L", settings, cpu, known=known)


def by_rnn(row: Row, hidden: int, **others: object) -> Row:
    """The network without a memory cell beside a row, trained by full gradients."""
    return row._replace(
        name=f"{row.name}-rnn",
        cell=rnn(hidden),
        published=None,
        settings=row.settings | {"learning_rates": (0.01, 0.03, 0.1, 0.3)} | others,
        cpu=NOTHING,
        known=f"as {row.name}, by an RNN of about as many weights and full gradients (BPTT), of which the paper has no "
        "number; how many sequences it may take is ours",
    )
