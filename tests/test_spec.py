"""Specs: parsed and never evaluated, held against signatures, with the nearest name where one is wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax import Cell, Task, UserError, cells, spec, tasks

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: (
        name not in {"if", "is", "in", "or", "as", "and", "not", "for", "def", "del", "try", "from", "with"}
        and name
        not in {"pass", "else", "elif", "raise", "class", "async", "await", "break", "while", "yield", "global"}
        and name not in {"assert", "except", "import", "lambda", "return", "finally", "continue", "nonlocal"}
    )
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
PIECES = st.lists(
    st.sampled_from(
        [
            *("lstm", "rnn", "hidden", "length", "=", "(", ")", "(", ")", "[", "]", "{", "}", ",", ";", ".", ":", ":="),
            *(
                "8",
                "-1",
                "1e3",
                "1e999",
                "0x",
                "'tanh'",
                "b''",
                "f'{1}'",
                '"',
                "'",
                "\\",
                "*",
                "**",
                "+",
                "-",
                "@",
                "~",
            ),
            *("if ", " else ", "lambda x:", "None", "True", "not ", " in ", "await ", "__import__('os')", "__class__"),
            *("open", "exec", "\n", "\t", " ", "#", "é", "𝐱", "\0", "..."),
        ]
    ),
    max_size=14,
).map(lambda pieces: "".join(pieces))


@given(NAMES, st.dictionaries(NAMES, PLAIN, max_size=4))
@settings(max_examples=200, deadline=None)
def test_a_spec_and_its_text_are_the_same(name, arguments):
    made = spec.Spec(name, arguments)
    if len(str(made)) <= spec.MAX_CHARACTERS:
        assert spec.parse(str(made)) == made


@given(st.text(max_size=60) | PIECES | PIECES.map(lambda text: f"a(x={text})"))
@settings(max_examples=1500, deadline=None)
def test_no_text_does_anything_but_parse_or_be_refused(text):
    for read in (spec.parse, spec.split):
        try:
            found = read(text)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            for one in [found] if read is spec.parse else found:
                assert len(str(one)) > spec.MAX_CHARACTERS or spec.parse(str(one)) == one


@given(PIECES.filter(lambda text: "." not in text))
@settings(max_examples=300, deadline=None)
def test_no_text_builds_anything_but_a_cell_or_is_refused(text):
    try:
        assert isinstance(spec.build(text, [cells], Cell), Cell)
    except UserError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            " ",
            "()",
            "lstm(",
            "lstm)",
            "lstm(8)",
            "lstm(hidden)",
            "lstm(**{'hidden': 8})",
            "lstm(*[8])",
            "8",
            "'lstm'",
        ],
        *[
            "lstm(hidden=8)(hidden=8)",
            "lstm[8]",
            "lstm(hidden=8, hidden=9)",
            "a = lstm()",
            "lstm(); rnn()",
            "lambda: 0",
        ],
        *["lstm(hidden=2**9**9)", "lstm(hidden=[].append(1))", "lstm(hidden=hidden)", "lstm(hidden=__import__('os'))"],
        *["lstm(hidden=f'{1}')", "lstm(hidden=(lambda: 8)())", "lstm(hidden=[x for x in (1,)])", "x.y().z()", "lstm\0"],
        *["(" * 900 + ")" * 900, "-" * 1900 + "1", "a(x=" + "[" * 900 + "]" * 900 + ")"],
        *["a(x=" + "-" * 1900 + "1)", "a(x=" + "1+" * 900 + "1)", "lstm(hidden=" + "9" * 3000 + ")", "a" * 2001],
        *["lstm(hidden=1\n, forget_bias=open('x')\n)", "lstm(hidden=open(\n'x'\n))"],
        *["a(x=1e999)", "a(x=...)", "a(x=(-1e999,))"],  # no plain value: their text does not parse again
    ],
)
def test_what_is_no_spec(text):
    with pytest.raises(UserError) as caught:
        spec.parse(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 3 * spec.MAX_CHARACTERS


def test_what_is():
    assert spec.parse("lstm") == spec.Spec("lstm", {})
    assert spec.parse(" lstm( hidden = 8, ) ") == spec.Spec("lstm", {"hidden": 8})
    assert spec.parse("a.b.c(x=-1.5, y='é;', z=(1, None, True))") == spec.Spec(
        "a.b.c", {"x": -1.5, "y": "é;", "z": (1, None, True)}
    )
    assert str(spec.parse("lstm(hidden=8,forget_bias=1.)")) == "lstm(hidden=8, forget_bias=1.0)"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("rnn", ["rnn()"]),
        ("rnn();lstm(hidden=8)", ["rnn()", "lstm(hidden=8)"]),
        (" rnn() ; ; lstm;", ["rnn()", "lstm()"]),
        ("a(x='1;2');b(y=\";'\")", ["a(x='1;2')", 'b(y=";\'")']),
        ("a(x='\"');b()", ["a(x='\"')", "b()"]),
    ],
)
def test_semicolons_split(text, expected):
    assert [str(one) for one in spec.split(text)] == expected


@pytest.mark.parametrize("text", ["", ";", " ; ; "])
def test_a_list_of_nothing(text):
    with pytest.raises(UserError, match="empty"):
        spec.split(text)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_quote_behind_a_backslash_does_not_end_the_text(quote):
    value = f"it{quote};s"
    made = spec.Spec("a", {"x": value})
    escaped = f"a(x={quote}it\\{quote};s{quote});b"
    assert spec.split(escaped) == [made, spec.Spec("b", {})]


@pytest.mark.parametrize(
    "text, says",
    [
        ("lsmt(hidden=8)", "no cell 'lsmt'; did you mean 'lstm'? cells: "),
        ("initializers(hidden=8)", "no cell 'initializers'"),
        ("zzz", "no cell 'zzz'; cells: "),
        pytest.param("a" + ".a" * 990, "'a.a.a.", id="a.a.a..."),
        ("lstm(hiden=8)", "lstm takes no argument 'hiden'; did you mean 'hidden'? arguments: hidden, "),
        ("lstm(hidden='8')", "lstm: hidden='8'; expected a whole number"),
        ("lstm(hidden=8.0)", "lstm: hidden=8.0; expected a whole number"),
        ("lstm(hidden=True)", "lstm: hidden=True; expected a whole number"),
        ("lstm(hidden=None)", "lstm: hidden=None; expected a whole number"),
        ("lstm(max_lag='x')", "lstm: max_lag='x'; expected a number or None"),
        ("lstm(peepholes='no')", "lstm: peepholes='no'; expected True or False"),
        ("rnn(activation='elu')", "rnn: activation='elu'; expected 'tanh' or 'relu' or 'identity'"),
        ("rnn(activation=['tanh'])", "rnn: activation=['tanh']; expected"),
        ("lstm(hidden=-1)", "lstm: hidden=-1; expected at least 1"),
        ("adding(length=8)", "no cell 'adding'"),
    ],
)
def test_complaints_name_the_argument_the_value_and_what_would_do(text, says):
    with pytest.raises(UserError) as caught:
        spec.build(text, [cells], Cell)
    assert str(caught.value).startswith(says), str(caught.value)


def test_whole_numbers_are_numbers():
    assert isinstance(spec.build("lstm(hidden=4, forget_bias=1, max_lag=10)", [cells], Cell), Cell)
    assert isinstance(spec.build("lstm(hidden=4, max_lag=None)", [cells], Cell), Cell)


def test_names_are_files_that_hold_a_function_of_their_own_name():
    assert spec.names([cells]) == sorted(spec.names([cells])) and "initializers" not in spec.names([cells])
    assert set(spec.names([cells, tasks])) == {*spec.names([cells]), *spec.names([tasks])}
    assert "scoring" not in spec.names([tasks])
    assert spec.accepts(spec.parse("lstm()"), [cells], "max_lag")
    assert not spec.accepts(spec.parse("rnn()"), [cells], "max_lag")


def scheduled(count: int, rate: float = 0.1, *, label: str = "a") -> Task:
    """A function that takes an argument from its caller."""


def test_arguments_that_the_caller_gives_are_neither_asked_for_nor_taken():
    spec.check(spec.parse("scheduled(rate=1)"), scheduled, given=["count"])
    with pytest.raises(UserError, match="scheduled takes no argument 'count'; arguments: rate, label"):
        spec.check(spec.parse("scheduled(count=1)"), scheduled, given=["count"])
    with pytest.raises(UserError, match="scheduled needs count="):
        spec.check(spec.parse("scheduled()"), scheduled)
