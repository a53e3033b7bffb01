"""Run directories written by hand, as training would leave them, and what a report makes of one."""

import io
import json

import numpy as np

from seqjax import report


def run(seed=0, rate=0.003, status="solved", losses=(0.2, 0.1, 0.005), ends=(-20.0, -1.0), score=0.99):
    """One run as the writer sees it: evaluations every 100 steps, and a probe for each of `ends`."""
    return {"seed": seed, "rate": rate, "status": status, "losses": losses, "ends": ends, "score": score}


def norm_lines(end, steps, keys):
    end, there = end or 0, end is not None
    line = list(np.linspace(end, 0, steps) - 3) if steps > 1 else [-3.0]
    return {key: line if there else [None] * steps for key in ("carry", *keys)}


def write_run(directory, runs, cell="lstm(hidden=4)", task="adding(length=6)", length=6, finished=True, steps=6,
              keys=("layer_0/h", "layer_0/c"), baseline=1 / 6, trained=True):  # fmt: skip
    directory.mkdir(parents=True)
    environment = {"commit": "abc123", "dirty": False, "python": "3.11.7", "versions": {"jax": "0.10.2"},
                   "device": {"platform": "cpu", "kind": "cpu", "count": 2}, "started": "2026-11-21"}  # fmt: skip
    config = {
        "kind": "train",
        "command": f"python -m experiments.train --cell={cell!r}",
        "config": {"cell": cell, "task": task, "optimizer": "adam", "steps": 300 if trained else 0},
        "task": {
            "name": "adding",
            "length": length,
            "baseline": baseline,
            "readout": "last",
            "criterion": "loss < .01",
        },
        "runs": [{"seed": r["seed"], "learning_rate": r["rate"]} for r in runs],
        "parameters": 17000,
        "environment": environment,
    }
    (directory / "config.json").write_text(json.dumps(config))
    metrics, gradients, results = [], [], []
    for n, r in enumerate(runs):
        for k, loss in enumerate(r["losses"]):
            metrics.append({"step": 100 * (k + 1), "run": n, "train_loss": loss, "loss": loss, "score": r["score"],
                            "grad_norm": 0.3})  # fmt: skip
        for k, end in enumerate(r["ends"]):
            gradients.append(
                {"step": 150 * k, "run": n, "log10_norm": norm_lines(end, steps, keys), "first_to_last": end}
            )
        at = 100 * len(r["losses"])
        results.append(
            {"seed": r["seed"], "learning_rate": r["rate"], "status": r["status"], "steps": at,
             "solved_at": at if r["status"] == "solved" else None, "score": r["score"],
             "diverged_at": at if r["status"] == "diverged" else None, "loss": r["losses"][-1] if r["losses"] else None}
        )  # fmt: skip
    (directory / "gradients.jsonl").write_text("".join(json.dumps(line) + "\n" for line in gradients))
    if trained:
        (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
        if finished:
            (directory / "result.json").write_text(json.dumps({"wall_seconds": 31.2, "runs": results}))
    return directory


def write_group(directory, kind):
    directory.mkdir(parents=True)
    config = {"kind": kind, "command": f"python -m experiments.{kind}", "config": {"seeds": 3}, "environment": {}}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def one_row(directory):
    (row,) = report.table(report.load(directory))
    return row


def printed(records):
    out = io.StringIO()
    report.print_table(records, out)
    return out.getvalue()


def png_size(path):
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def benchmark(directory):
    write_group(directory, "benchmark")
    for cell, status, loss in (("lstm(hidden=4)", "solved", 0.005), ("rnn(hidden=4)", "unsolved", 0.165)):
        for length in (100, 50):
            runs = [run(seed, status=status, losses=(0.2, loss), ends=(-9.0, -5.0, -1.0)) for seed in range(2)]
            keys = ("layer_0/h", "layer_0/c") if "lstm" in cell else ("layer_0/h",)
            write_run(directory / f"{cell[:3]}-{length}", runs, cell, f"adding(length={length})", length, keys=keys)
    return directory
