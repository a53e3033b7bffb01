"""What the field's texts promise, on real data: no paper, but each application beside a published number."""

from seqjax.papers.row import Paper, Row

SETTINGS = {"optimizer": "adam", "learning_rates": (2e-3,), "seeds": 3, "eval_every": 100, "stop_when_solved": False}


def _with(steps: int, **settings: object) -> dict[str, object]:
    """Settings of so many steps, probed at both ends."""
    return SETTINGS | {"steps": steps, "probe_every": steps, "checkpoint_every": min(500, steps)} | settings


def _small(row: Row) -> Row:
    """The row with a cpu budget: a fifth of the steps, one seed."""
    steps = row.settings["steps"] // 5
    cut = {"steps": steps, "seeds": 1, "eval_every": min(row.settings["eval_every"], steps)}
    if "schedule" in row.settings:
        cut["schedule"] = _falling(steps)
    return row._replace(cpu=cut)


def _falling(steps: int) -> str:
    return f"cosine_decay_schedule(decay_steps={steps})"


EPOCHS = "a fixed number of steps, the last evaluation's number; no pretrained vectors"
CHOSEN = "width, rate and steps were found by a few trials that looked at the same split"

ROWS = (
    Row(
        "char_lm",
        "lstm(hidden=256)",
        "char_lm(data='DATA/tinyshakespeare')",
        "loss",
        1.4697,
        "L",
        _with(6000, learning_rates=(4e-3,), schedule=_falling(6000), eval_every=500, eval_size=64, seeds=1),
        known="published: the validation loss of a small GPT (nanoGPT), no recurrent network; tested on the last "
        "tenth of the lines, as there is no official split; " + CHOSEN,
        shape="many-to-many",
        goal=1.60,
    ),
    Row(
        "char_lm-war-and-peace",
        "lstm(hidden=256)",
        "char_lm(data='DATA/war_and_peace')",
        "loss",
        1.08,
        "M",
        _with(6000, learning_rates=(4e-3,), schedule=_falling(6000), eval_every=500, eval_size=64, seeds=1),
        known="published: two or three layers of 512 units (Karpathy, Johnson & Fei-Fei 2015, table 1), of the bytes "
        "of the file in parts of 80, 10 and 10 %; here code points, line ends as one, the last tenth of lines held out",
        shape="many-to-many",
    ),
    Row(
        "word_lm",
        "lstm(hidden=200)",
        "word_lm(data='DATA/wikitext2', most=10000)",
        "loss",
        None,
        "M",
        _with(6000, learning_rates=(2e-3,), schedule=_falling(6000), eval_every=1000, eval_size=20, seeds=1)
        | {"embedding": 200, "input_dropout": 0.3},
        known="nats a word, of the 10,000 most frequent and <unk> for the others, which is easier than the published "
        "perplexity of 99.3, 4.60 nats, over all 33,278 (Grave et al. 2017 [M]): the two do not compare",
        shape="many-to-many",
    ),
    Row(
        "sentiment",
        "gru(hidden=32)",
        "sentiment(data='DATA/sentiment_sentences')",
        "score",
        None,
        "M",
        _with(400, bidirectional=True, embedding=64, input_dropout=0.5, eval_size=100, eval_every=50),
        known="no published number on this split; " + EPOCHS + "; " + CHOSEN,
        shape="many-to-one",
        goal=0.76,
    ),
    Row(
        "tagging",
        "lstm(hidden=96)",
        "tagging(data='DATA/ud_english_ewt')",
        "score",
        0.955,
        "M",
        _with(2400, bidirectional=True, embedding=64, input_dropout=0.3, eval_size=64, eval_every=400),
        tolerance=0.005,
        known="published: bidirectional LSTM taggers, 95 to 96 %, most with pretrained vectors: the middle; " + EPOCHS,
        shape="many-to-many, bidirectional, characters and words",
        goal=0.93,
    ),
    Row(
        "ner",
        "lstm(hidden=96)",
        "ner(data='DATA/wnut17')",
        "grade",
        0.4078,
        "L",
        _with(3600, bidirectional=True, embedding=64, input_dropout=0.5, eval_size=64, eval_every=400),
        known="published: SpinningBytes of the shared task, with pretrained vectors; " + EPOCHS,
        grade="entity F1",
        shape="many-to-many, bidirectional, characters and words",
    ),
    *(
        Row(
            name,
            "gru(hidden=192)",
            "translation(data='DATA/multi30k_en_de', min_count=3)",
            "grade",
            number,
            "M",
            _with(3000, attention=attention, bidirectional=True, embedding=128, input_dropout=0.3, dropout=0.0)
            | {"batch_size": 64, "eval_every": 500, "eval_size": 64, "seeds": 1},
            tolerance=0.07,
            known="BLEU of the tokens as they stand, greedily decoded; published text-only networks with attention "
            "reach 33 to 38, depending on the tokens: the middle",
            grade="BLEU",
            shape="encoder-decoder",
            goal=goal,
        )
        for name, attention, number, goal in (
            ("translation", "additive", 35.5, 22.0),
            ("translation-without-attention", "none", None, None),
        )
    ),
    Row(
        "spoken_digits",
        "gru(hidden=96)",
        "spoken_digits(data='DATA/fsdd')",
        "score",
        0.96,
        "L",
        _with(800, bidirectional=True, eval_size=100),
        known="published: a repository's F1 on a split of its own; the official test here; " + CHOSEN,
        shape="many-to-one",
        goal=0.97,
    ),
    Row(
        "spoken_digits-new-speaker",
        "gru(hidden=96)",
        "spoken_digits(data='DATA/fsdd', held_out_speaker='theo')",
        "score",
        None,
        "M",
        _with(800, bidirectional=True, eval_size=100),
        known="one of six speakers is tested on and not trained on",
        shape="many-to-one",
    ),
    *(
        Row(
            name,
            "gru(hidden=96)",
            f"spoken_digits(data='DATA/fsdd', strings=True{held_out})",
            "errors",
            None,
            "M",
            _with(3000, bidirectional=True, batch_size=16, eval_size=100, eval_every=500, seeds=1),
            known="strings of 3 to 6 recordings of a speaker, joined without a pause, best path",
            grade="word error rate",
            shape="many-to-many, unaligned",
            goal=goal,
        )
        for name, held_out, goal in (
            ("connected_digits", "", 0.06),
            ("connected_digits-new-speaker", ", held_out_speaker='theo'", None),
        )
    ),
    Row(
        "music-chorales",
        "gru(hidden=200)",
        "piano_rolls(data='DATA/jsb_chorales')",
        "loss",
        8.43,
        "L",
        _with(4000, batch_size=8, eval_size=77, input_dropout=0.2, clip_norm=0.4, schedule=_falling(4000)),
        known="published: the GRU of Bai et al. 2018, at its best epoch by a validation split; ours is the last, "
        "of a number of steps that was found by a trial on the same split",
        shape="many-to-many, one-to-many",
        goal=8.6,
    ),
    Row(
        "music-nottingham",
        "lstm(hidden=200)",
        "piano_rolls(data='DATA/nottingham')",
        "loss",
        3.29,
        "L",
        _with(6000, batch_size=8, eval_size=10, learning_rates=(3e-3,), eval_every=1000, schedule=_falling(6000))
        | {"clip_norm": 0.4, "input_dropout": 0.1},
        known="published: the LSTM of Bai et al. 2018; rate and steps were found by trials on the validation split; "
        "ours is narrower, and its last evaluation counts",
        shape="many-to-many, one-to-many",
        goal=3.5,
    ),
    Row(
        "gesture",
        "gru(hidden=64)",
        "gesture(data='DATA/libras')",
        "score",
        0.856,
        "M",
        _with(1500, bidirectional=True, input_dropout=0.2, eval_size=180, learning_rates=(3e-3,), seeds=5),
        known="published: MLSTM-FCN; 19 of the 180 test series are in the training split too; " + CHOSEN,
        shape="many-to-one",
        goal=0.78,
    ),
    Row(
        "gesture-drawn",
        "lstm(hidden=128)",
        "drawing(data='DATA/libras')",
        "loss",
        None,
        "M",
        _with(3000, eval_size=180, eval_every=500, learning_rates=(3e-3,), schedule=_falling(3000), seeds=1),
        known="squared error of the next point given the true ones before",
        shape="one-to-many",
    ),
    Row(
        "digit-drawn",
        "lstm(hidden=256)",
        "drawing(data='DATA/mnist', series='image', kind='shades')",
        "loss",
        None,
        "M",
        _with(2000, batch_size=64, eval_size=500, eval_every=500, schedule=_falling(2000), seeds=1),
        known="nats a row given the true ones before",
        shape="one-to-many",
    ),
    Row(
        "forecast",
        "gru(hidden=64)",
        "forecast(data='DATA/etth1')",
        "loss",
        0.650,
        "M",
        _with(1500, learning_rates=(1e-3,), eval_size=500),
        known="published: the LSTM with attention of the Informer paper, which reads the rows as they are; " + CHOSEN,
        shape="many-to-one",
        goal=0.60,
    ),
    Row(
        "forecast-row-by-row",
        "gru(hidden=64)",
        "forecast(data='DATA/etth1', written='row by row')",
        "loss",
        0.650,
        "M",
        _with(1500, learning_rates=(1e-3,), eval_size=500, embedding=32),
        known="as `forecast`, by an encoder and a decoder with additive attention that reads what it wrote",
        shape="encoder-decoder",
        goal=0.60,
    ),
    Row(
        "pixel_images",
        "lstm(hidden=100)",
        "pixel_images(order='row', data='DATA/mnist')",
        "score",
        None,
        "M",
        _with(4000, batch_size=64, eval_every=500, schedule=_falling(4000)),
        known="row by row, of which no number is at hand that is known to be of this setting",
        shape="many-to-one",
        goal=0.98,
    ),
    Row(
        "video",
        "lstm(hidden=128)",
        "video(data='DATA/mnist')",
        "score",
        None,
        "M",
        _with(3000, batch_size=64, embedding=64, eval_size=500, eval_every=500, schedule=_falling(3000), seeds=1),
        known="ten frames of a moving digit of 14 by 14 pixels, made here: both the digit and its way must be right",
        shape="many-to-one, a convolution at each step",
        goal=0.95,
    ),
    Row(
        "video-foreseen",
        "lstm(hidden=256)",
        "video(data='DATA/mnist', asks='next')",
        "loss",
        None,
        "M",
        _with(3000, batch_size=64, embedding=128, eval_size=500, eval_every=500, schedule=_falling(3000), seeds=1),
        known="squared error of the next frame, summed over its pixels, given the true ones before",
        shape="many-to-many, one-to-many",
    ),
)

PAPER = Paper("Applications, each on real data", tuple(map(_small, ROWS)))
