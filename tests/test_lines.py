"""The files that grow while a run trains, cut back to the step it goes on from."""

import json

from small_runs import lines

from seqjax.training.lines import Lines


def test_behind_the_first_line_of_a_later_step_none_is_kept(tmp_path):
    """Run 1 ended at step 2, and was told of at the end: where its line stands depends on what comes before it."""
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step, "run": run}) + "\n" for step, run in [(1, 0), (4, 0), (2, 1)]))
    Lines(path, up_to=2).close()
    assert lines(path) == [{"step": 1, "run": 0}]


def test_lines_are_cut_back_to_a_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "run": 0}\n{"step": 2, "run": 0}\n{"step"')
    file = Lines(path, up_to=1)
    file.write([{"step": 1, "run": 0}, {"step": 2, "run": 0, "loss": float("nan")}])
    file.close()
    assert lines(path) == [{"step": 1, "run": 0}, {"step": 2, "run": 0, "loss": None}]
