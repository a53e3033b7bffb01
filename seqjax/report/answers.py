"""Figures of what a network answers: who is taken for whom, where a decoder looks, what a forecast says, a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqjax.report.figures import PALETTE, PLAIN, Figure, canvas, panels, png

MOST_CLASSES = 40
MOST_VARIABLES = 4


def confusion(truth: Sequence[str], said: Sequence[str]) -> Figure | None:
    """How often each label was taken for each, as a share of its row; None where there are too many labels."""
    names = sorted({*truth, *said}, key=lambda name: (not name.isdecimal(), name.zfill(20)))
    if len(names) > MOST_CLASSES:
        return None
    place = {name: n for n, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, ([place[name] for name in truth], [place[name] for name in said]), 1)
    size = max(3.2, 0.32 * len(names) + 1.6)
    with canvas(size, size) as figure:
        axes = figure.subplots()
        axes.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
        for row, column in zip(*np.nonzero(counts)):
            dark = counts[row, column] > counts[row].sum() / 2
            text = str(counts[row, column])
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
        axes.set_xticks(range(len(names)), names, rotation=90, **PLAIN)
        axes.set_yticks(range(len(names)), names, **PLAIN)
        axes.set(xlabel="answer", ylabel="truth")
        axes.grid(False)
        return Figure("confusion", "Truth and answers", "Counts; the colour is the share of the row.", png(figure))


def attention_map(source: Sequence[str], written: Sequence[str], weights: np.ndarray) -> Figure:
    """Where the decoder looked while it wrote each word: weights [U, S], each row sums to 1."""
    with canvas(1.8 + 0.34 * len(source), 1.6 + 0.28 * len(written)) as figure:
        axes = figure.subplots()
        axes.imshow(weights[: len(written), : len(source)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(source)), source, rotation=60, ha="left", rotation_mode="anchor", **PLAIN)
        axes.set_yticks(range(len(written)), written, **PLAIN)
        axes.xaxis.tick_top()
        axes.grid(False)
        words = "Columns: what was read. Rows: what was written, and where the decoder looked as it wrote that."
        return Figure("attention", "Attention", words, png(figure))


def forecasts(read: np.ndarray, asked: np.ndarray | None, said: np.ndarray) -> Figure:
    """What was read [T, D], what came [K, D], if it is known, and what was said [K, D], of the first few variables."""
    count = min(MOST_VARIABLES, read.shape[1])
    with canvas(9, 2.1 * -(-count // 2)) as figure:
        for number, axes in enumerate(panels(figure, count, 2, sharex=True)):
            before, after = np.arange(1 - len(read), 1), np.arange(1, len(said) + 1)
            axes.plot(before, read[:, number], color="0.5", linewidth=1)
            if asked is not None:
                axes.plot(after, asked[:, number], color="black", linewidth=1.2, label="truth")
            axes.plot(after, said[:, number], color=PALETTE[1], linewidth=1.5, label="forecast")
            axes.set_title(f"variable {number + 1}", fontsize=9)
            axes.axvline(0.5, color="0.8", linewidth=1)
        axes.legend(fontsize=8)
        figure.supxlabel("steps from the last that was read", fontsize=9)
        figure.supylabel("standardized", fontsize=9)
        words = "Standardized, with relative=True less the last row that was read; grey is what was read before."
        name = "forecast" if asked is not None else "forecast-of-data"
        return Figure(name, "A forecast", words, png(figure))


def score(frames: np.ndarray, given: int) -> Figure:
    """Notes over time, of frames [T, 88]; those of the first `given` steps were the prompt."""
    sounding = np.flatnonzero(frames.any(0))
    low, high = (sounding.min(), sounding.max()) if sounding.size else (0, 1)
    with canvas(9, 2.8) as figure:
        axes = figure.subplots()
        shades = frames.T * np.where(np.arange(len(frames)) < given, 0.4, 1.0)
        axes.imshow(shades, cmap="Blues", vmin=0, vmax=1, aspect="auto", origin="lower", interpolation="nearest")
        axes.set(ylim=(low - 1, high + 1), xlabel="step", ylabel="key, A0 is 0")
        axes.grid(False)
        return Figure(
            "score", "A piece that was written", "Pale: the prompt. Dark: what the network added.", png(figure)
        )


def drawings(names: Sequence[str], drawn: np.ndarray) -> Figure:
    """What was drawn for each label [T, N, D]: of two numbers a step a path, of more an image of T rows."""
    with canvas(9, 1.8 * -(-len(names) // 5)) as figure:
        for number, (name, axes) in enumerate(zip(names, panels(figure, len(names), 5))):
            one = drawn[:, number]
            if one.shape[1] == 2:
                axes.plot(one[:, 0], one[:, 1], color=PALETTE[0], linewidth=1.5)
                axes.plot(one[0, 0], one[0, 1], "o", color=PALETTE[1], markersize=4)
            else:
                axes.imshow(one, cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(name, fontsize=9, **PLAIN)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(False)
        words = "Each from its label alone; a path begins at the dot, an image at its upper row."
        return Figure("drawings", "Drawn by the network", words, png(figure))


def frames(truth: np.ndarray, said: np.ndarray, given: int) -> Figure:
    """Films [T, N, h, w, c], those of the network below the true ones; the first `given` frames were shown to it."""
    count, films = truth.shape[:2]
    with canvas(min(0.9 * count, 12), 2.0 * films) as figure:
        for number, axes in enumerate(panels(figure, count * films * 2, count)):
            row, step = divmod(number, count)
            film = (truth, said)[row % 2]
            axes.imshow(film[step, row // 2].mean(-1), cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(False)
            for spine in axes.spines.values():
                spine.set(visible=True, color=PALETTE[1] if row % 2 and step >= given else "0.8")
            if step == 0:
                axes.set_ylabel(("truth", "network")[row % 2], fontsize=8)
        words = "Upper rows: the true film. Lower rows: what was shown, then, framed, what the network saw coming."
        return Figure("frames", "Frames foreseen", words, png(figure))
