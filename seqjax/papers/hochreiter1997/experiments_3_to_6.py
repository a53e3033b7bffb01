"""Experiments 3 to 6: noise and signal on one channel, adding, multiplication, temporal order."""

from seqjax.papers.hochreiter1997.parts import ALL, BLOCKS, COUNTED, OURS, budget, by_rnn, counted, lstm
from seqjax.papers.row import Row, cut_off


def _two_sequence(
    variant: str,
    criterion: str,
    number: float,
    name: str = "",
    rates: tuple[float, ...] = (0.2, 0.5, 1.5),
    steps: int = 200_000,
    own: float = 0.5,
    full: bool = False,
) -> Row:
    also = "" if criterion == "ST1" else f", criterion='{criterion}'"
    cell = lstm(3, ALL + "input_bias=(-1, -3, -5), output_bias=(-2, -4, -6), ")
    return counted(
        f"two-sequence-{variant}{name}",
        cell if full else cut_off(cell, "h", "gates"),
        f"two_sequence(length=100, variant='{variant}', informative=3{also}, outputs='sigmoid')",
        number,
        budget(rates, steps, eval_every=1000, around_scale=0.1),
        (OURS if full else "the paper's truncated gradient; ") + "9 units of 1 + 9 inputs and a bias, and 3 outputs, "
        f"are the paper's 102 weights; ours has an output bias more; loss is squared error, twice the paper's, whose "
        f"rate is our {own}; by criterion {criterion}",
    )


def _order(name: str, number: float, blocks: int, rates: tuple[float, ...], steps: int, told: str = "") -> Row:
    """6a or 6b, of as many relevant symbols as there are blocks of cells; of one rate, it is the paper's."""
    own = f"; at the paper's rate{told}" if len(rates) == 1 else ""
    return counted(
        f"temporal-order-{name}",
        lstm(2 * blocks, BLOCKS + f"input_bias={(-2, -4, -6)[:blocks]}, "),
        f"temporal_order(length=100, relevant={blocks}, outputs='sigmoid')",
        number,
        budget(rates, steps, eval_every=500 if blocks == 2 else 2000, around_scale=0.1),
        f"{OURS}{COUNTED.format(weights=156 if blocks == 2 else 308, blocks=blocks)}loss is squared error, twice the "
        f"paper's; solved at 99.9 % right, each with every error below .3, the paper's 2,000 in a row{own}",
    )


ADDING = counted(
    "adding-100",
    lstm(4, BLOCKS + "input_bias=(-3, -6), "),
    "adding(length=100, variant='hs97')",
    74_000,
    budget((0.05, 0.1, 0.2, 0.5), 400_000, around_scale=0.1),
    f"{OURS}{COUNTED.format(weights=93, blocks=2)}the paper's output is a sigmoid; loss is squared error, twice the "
    "paper's, whose rate is our .25; X1 is set to zero where the first pair is marked, which we take for what is "
    "read, and not for the target alone",
)
MULTIPLICATION = counted(
    "multiplication-100",
    lstm(4, BLOCKS + "input_bias=(-3, -6), "),
    "multiplication(length=100)",
    1_273_000,
    budget((0.05, 0.1), 3_000_000, eval_every=5000, around_scale=0.1),
    f"{OURS}{COUNTED.format(weights=93, blocks=2)}the paper's output is a sigmoid and its input-gate biases "
    "begin near 0, ours as in adding; loss is squared error, twice the paper's, whose rate is our .05; "
    "counted until fewer than 13 of 2,000 are wrong (ours: 7 of 1,000); the paper's 482,000 are until fewer than 140",
    {"steps": 300_000, "seeds": 5},
)
ORDER_6A = _order("6a", 31_390, 2, (0.1, 0.3, 1.0), 200_000)
ORDER_6B = _order("6b", 571_100, 3, (0.1, 0.3, 1.0), 1_200_000)
ROWS = (
    _two_sequence("3a", "ST1", 27_380),
    _two_sequence("3a", "ST1", 27_380, "-full-gradient", full=True),
    _two_sequence("3a", "ST2", 39_850, "-ST2"),
    _two_sequence("3b", "ST2", 43_250),
    _two_sequence("3c", "ST2", 269_650, rates=(0.05, 0.15, 0.5), steps=600_000, own=0.05),
    ADDING,
    by_rnn(ADDING, 8),
    MULTIPLICATION,
    by_rnn(MULTIPLICATION, 8, steps=750_000),
    ORDER_6A,
    _order("6a-its-rate", 31_390, 2, (0.25,), 200_000, "; by the mean it is reproduced, as one seed is slow"),
    by_rnn(ORDER_6A, 8),
    ORDER_6B,
    _order("6b-its-rate", 571_100, 3, (0.05,), 1_200_000),
    by_rnn(ORDER_6B, 11, steps=300_000),
)
