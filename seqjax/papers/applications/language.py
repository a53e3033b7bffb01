"""Text: language models, sentiment, tags, names and translation."""

from seqjax.papers.applications.parts import CHOSEN, EPOCHS, falling, settings
from seqjax.papers.row import Row

ROWS = (
    Row(
        "char_lm",
        "lstm(hidden=256)",
        "char_lm(data='DATA/tinyshakespeare')",
        "loss",
        1.4697,
        "L",
        settings(6000, learning_rates=(4e-3,), schedule=falling(6000), eval_every=500, eval_size=64, seeds=1),
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
        settings(6000, learning_rates=(4e-3,), schedule=falling(6000), eval_every=500, eval_size=64, seeds=1),
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
        settings(6000, learning_rates=(2e-3,), schedule=falling(6000), eval_every=1000, eval_size=20, seeds=1)
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
        settings(400, bidirectional=True, embedding=64, input_dropout=0.5, eval_size=100, eval_every=50),
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
        settings(2400, bidirectional=True, embedding=64, input_dropout=0.3, eval_size=64, eval_every=400),
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
        settings(3600, bidirectional=True, embedding=64, input_dropout=0.5, eval_size=64, eval_every=400),
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
            settings(3000, attention=attention, bidirectional=True, embedding=128, input_dropout=0.3, dropout=0.0)
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
)
