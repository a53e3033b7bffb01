"""What the scripts say of bad flags: one line on stderr, and nothing written."""

import pytest
from test_experiments import TINY

from experiments import ablation, benchmark, gradient_flow, report, show_task, train
from seqjax.training import memory


@pytest.mark.parametrize(
    ("script", "flag", "says"),
    [
        (gradient_flow, "--quantities=lypunov", "--quantities has 'lypunov'; did you mean 'lyapunov'?"),
        (gradient_flow, "--length=50,100", "flag --length=50,100: invalid literal for int()"),
        (ablation, "--gradients=k=0", "no path 'k'"),
        (ablation, "--changes=widht=3", "takes no argument 'widht'"),
        (gradient_flow, "--probe_size=1", "--probe_size=1; expected at least 2, or --quantities without noise"),
        (ablation, "--changes=widht", "--changes='widht' does not parse; expected name=value"),
        (ablation, "--changes=hidden=64", "'lstm(hidden=64)' is there twice; expected each cell and each task once"),
        (train, "--clip_norm=-1", "--clip_norm=-1.0; expected a positive number, or 0 for no clipping"),
        (ablation, "--cell=lstm(max_lag=50)", "forget_bias=0.0 beside max_lag=50, which stands in its place"),
        (train, "--penalty=vanish", "did you mean 'vanishing'"),
        (train, "--strategy=truncated(window=0)", "window=0; expected at least 1 step"),
        (train, "--cell=clipped(cell='rnn', norm=-1.0)", "norm=-1.0; expected more than 0"),
    ],
)
def test_bad_input_of_the_laboratory_is_one_line(script, flag, says, tmp_path, capsys):
    assert script.main([flag, f"--workdir={tmp_path / 'x'}"]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("script", "flag", "says"),
    [
        (ablation, "--changes=forget_bias=1.0", "'lstm(hidden=64, forget_bias=1.0)' is the same as 'lstm(hidden=64)'"),
        (ablation, "--gradients=h=0;h=0.0", 'h=0.0)" is the same as "scaled(cell=\'lstm(hidden=64)\', h=0)"'),
        (ablation, "--gradients=cell='lstm(hidden=2)'", "'cell' is no path; expected one of its parts, as h, c or x"),
        (benchmark, "--task=adding(length=9);adding(variant='urnn', length=9)", "is the same as 'adding(length=9)'"),
    ],
)
def test_a_change_that_changes_nothing_is_one_line(script, flag, says, tmp_path, capsys):
    """Also where a default or another number of the same value hides it."""
    assert script.main([flag, "--steps=0", f"--workdir={tmp_path / 'x'}"]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1 and not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--samples=0", "--samples=0; expected 1 to 1000000"),
        ("--seed=-1", "--seed=-1; expected 0 to 4294967295"),
        ("--seed=99999999999999999999", "expected 0 to 4294967295"),
        ("--task=parity(length=10000000000000)", "--samples=3 of this task need 2.4e+05 GB"),
        ("--task=copy_memory(symbols=3000000000, length=3, tokens=2)", "a number beyond 32 bits"),
        ("--task=associative_recall(values=2147483647)", "2147483674 symbols, a number beyond 32 bits"),
        ("--task=selective_copy(length=5000000000)", "operand.shape=(3, 5000000000); expected smaller ones"),
        ("--task=embeded_reber", "did you mean 'embedded_reber'"),
        ("--task=piano_rolls()", "piano_rolls needs data=..."),
        ("--task=penn_treebank(data='./no/such')", "no such file or folder"),
    ],
)
def test_a_task_that_cannot_be_shown_is_one_line(flag, words, capsys):
    assert show_task.main([flag]) == 2
    err = capsys.readouterr().err
    assert words in err and err.startswith("error: ") and err.count("\n") == 1


def test_what_a_device_has_no_memory_for_is_one_line(capsys, monkeypatch):
    """As a GPU has, in the midst of training; here the batch alone is one that no machine holds."""
    monkeypatch.setattr(memory, "at_hand", lambda: 2**63)
    assert show_task.main(["--task=adding(length=2000000000)", "--samples=1000000"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: out of memory: ") and "expected shorter sequences" in err and err.count("\n") == 1


BAD = [
    ("--cell=lsmt(hidden=8)", "--cell='lsmt(hidden=8)': no cell 'lsmt'; did you mean 'lstm'? cells: "),
    ("--cell=lstm(hidden=8", "does not parse"),
    ("--cell=lstm(hidden=8.5)", "hidden=8.5; expected a whole number"),
    ("--cell=lstm(widht=8)", "takes no argument 'widht'"),
    ("--cell=os.getcwd()", "is not declared as `-> Cell`"),
    ("--cell=no_such_package.cell()", "cannot be imported"),
    ("--task=adding(length=-5)", "length=-5; expected at least 2"),
    ("--task=addding", "did you mean 'adding'"),
    ("--task=pixel_images(data='./no/such/folder')", "./no/such/folder"),
    ("--eval_task=pari", "--eval_task='pari': no task 'pari'; did you mean 'parity'?"),
    ("--character_width=3", "--character_width=3 is of the characters of words, and --task='adding' has none"),
    ("--eval_task=two_sequence", "its input size is 1, that of --task='adding' is 2"),
    ("--eval_task=parity", "--eval_task='parity': its output size is 2, that of --task='adding' is 1; expected"),
    ("--seeds=x", "seeds"),
    ("--seeds=0", "--seeds=0; expected at least 1"),
    ("--seeds=2147483648", "are 2147483648 runs; expected at most 1048576"),
    ("--layers=2147483648", "--layers=2147483648; expected at most 1000"),
    ("--learning_rates=fast", "--learning_rates=fast; expected numbers"),
    ("--lerning_rates=1", "lerning_rates"),
    ("--optimizer=adm", "did you mean 'adam'"),
    ("--optimizer=noisy_sgd", "--optimizer='noisy_sgd': not in optax"),
    ("--optimizer=lbfgs", "--optimizer='lbfgs()': "),
    ("--optimizer=held(optimizer='lbfgs')", "--optimizer='held': optimizer='lbfgs()': "),
    ("--optimizer=adam(mu_dtype='foo')", "data type 'foo' not understood"),
    ("--optimizer=adam(mu_dtype='int32')", "mu_dtype='int32'; expected one of floating point, as 'bfloat16'"),
    ("--optimizer=adam(b1=2.0)", "--optimizer='adam(b1=2.0)': b1=2.0; expected 0 to 1"),
    ("--optimizer=adam(b1=None)", "adam: b1=None; expected True or False or a whole number or a number\n"),
    ("--schedule=cosine_decay_schedule(decay_steps=0)", "requires positive decay_steps, got decay_steps=0"),
    ("--schedule=exponential_decay(transition_steps=0, decay_rate=0.5)", "transition_steps=0; expected at least 1"),
    ("--schedule=linear_schedule(end_value=0.0, transition_steps=-3)", "transition_steps=-3; expected at least 1"),
    ("--penalty=flossing(k=1000)", "--penalty='flossing(k=1000)': k=1000; expected 1 to "),
    ("--first_seed=3000000000", "--first_seed=3000000000; expected seeds below 2147483648"),
    ("--steps=3000000000", "--steps=3000000000; expected fewer than 2147483648"),
    ("--beam=5", "--beam=5 is of a network that writes"),
    ("--online", "--online: --task='adding' is not asked at every step"),
    ("--around_scale=-1", "around_scale=-1.0; expected a positive number"),
    ("--attention=none", "--attention=none is of a network that writes"),
    ("--mesh=pmap", "--mesh='pmap'; expected 'auto', or axes as in 'run=4,data=2'"),
    ("--mesh=rum=2", "--mesh='rum=2': no axis 'rum'; did you mean 'run'? axes: run, data"),
    ("--mesh=run=50,data=4", "needs 200 devices, run=50 x data=4; there are"),
    ("--process_id=1", "--coordinator and --num_processes missing; a run over processes needs"),
    ("--workdir=/proc/self/run", "cannot be written"),
    ("--dropout=2", "dropout=2.0; expected at least 0 and less than 1"),
    ("--strategy=fast", "--strategy='fast'; expected 'auto' or one of 'scan'"),
    ("--strategy=associative", "--strategy='associative': 'associative' needs a cell that is linear"),
    ("extra", "expected flags only, found 'extra'"),
]


@pytest.mark.parametrize(("flag", "words"), BAD)
def test_bad_input_is_one_line_and_writes_nothing(flag, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workdir = [] if flag.startswith("--workdir") else [f"--workdir={tmp_path / 'run'}"]
    assert train.main([*TINY, *workdir, flag]) == 2
    err = capsys.readouterr().err
    assert words in err and err.startswith("error: ") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--cells=rnn;;", "--task=;"], "--task=';'"),
        (["--cells=;"], "--cells=';'"),
        (["--task=adding(length=10)", "--lengths=5"], "gives its length itself; leave out --lengths"),
        (["--lengths=five"], "--lengths=five; expected whole numbers"),
        (["--lengths=-5"], "length=-5"),
        (["--lengths=5,5"], "'adding(length=5)' is there twice"),
        (["--lengths="], "--lengths= is empty; expected whole numbers"),
        (["--resume"], "--resume needs --workdir"),
    ],
)
def test_a_bad_grid_is_one_line(flags, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert benchmark.main(flags) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_report_of_nothing(tmp_path, capsys):
    assert report.main([]) == 2
    assert "expected RUN_DIR, found 'nothing'" in capsys.readouterr().err
    assert report.main([str(tmp_path / "none")]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err
