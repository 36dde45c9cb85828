"""Equal forms are equal programs: a wrong equality would be a wrong result."""

import ast
import io
import itertools
import re
import tokenize
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from discovery import python_form
from discovery.bundle import bundled
from discovery.form import form_of, normalised
from discovery.plugins import load_problem
from discovery.problem import ProblemSettings
from discovery.share import share_dir

HERE = Path(__file__)
SNIPPETS = [path.read_text() for path in sorted(HERE.parent.glob("test_[a-d]*.py"))[:12]]
SNIPPETS += [path.read_text() for path in sorted(share_dir("problems").glob("*/initial.py"))]
SNIPPETS.append(
    '''
import math
def f(x, *, y=1):
    """Says:  two  blanks  # no comment
        and more."""
    if x: return [1,  # one
        2,
    ]
    s = f"{x!r:>{y}}  # {'a'}" f'{y}' rb"\\
 raw" 'plain'
    while x:
        x -= 1; y += \\
            2
    else:
        pass
    return {1: (lambda: (yield)), **{}} if x else ...
class A(B, metaclass=C):
    a: int = 0x_ff; b = 1_000.5e-3j
    async def g(self):
        async with a as b, c: await d
        return x @ y // z ** -w
match f(1):
    case {"a": [1, *_]}: print("x"  "y")
    case _ if (n := 3): pass
''',
)


def python(source):
    return normalised(ProblemSettings(), source)


def c(source):
    return normalised(ProblemSettings(language="cpp"), source)


def rust(source):
    return normalised(ProblemSettings(language="rust"), source)


def tree(source):
    try:
        return ast.dump(ast.parse(source))
    except (SyntaxError, ValueError):
        return None


@st.composite
def dressed(draw, source):
    """The same program with other comments, blank lines, indentation and blanks between tokens."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    width = draw(st.integers(1, 8))
    drawn = st.lists(st.sampled_from(["", "", "", " ", "   "]), min_size=40, max_size=40)
    blanks = itertools.cycle(draw(drawn))
    notes = itertools.cycle(
        draw(st.lists(st.sampled_from(["", "", "# note", "#'\"{[(:"]), min_size=7, max_size=7))
    )
    made, depth, nested, is_first = [], 0, 0, True
    for token in tokens:
        if token.type in (tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER):
            continue
        if token.type in (tokenize.INDENT, tokenize.DEDENT):
            depth += 1 if token.type == tokenize.INDENT else -1
        elif token.type == tokenize.NEWLINE:
            made.append(f"{next(blanks)}{next(notes)}\n")
            if note := next(notes):
                made.append(f"{next(blanks)}{note}\n\n")
            is_first = True
        else:
            made.append(" " * (width * depth) if is_first else " " + next(blanks))
            nested += (token.string in "([{") - (token.string in ")]}") if token.type == tokenize.OP else 0
            made.append(token.string)
            if nested and (note := next(notes)):
                made.append(f" {note}\n{next(blanks)}")
            is_first = False
    return "".join(made)


@pytest.mark.skipif(hasattr(tokenize, "FSTRING_START"), reason="cuts f-strings, which dressing takes as one")
@given(st.data())
def test_dressing_a_python_program_keeps_its_form(data):
    source = data.draw(st.sampled_from(SNIPPETS))
    form = python(source)
    other = data.draw(dressed(source))
    assert tree(other) == tree(source)
    assert python(other) == form
    if form is not None:
        assert tree(form) == tree(source)
        assert python(form) == form


PLAIN = [path.read_text() for path in sorted(share_dir("problems").glob("circle-packing-*/initial.py"))]
PLAIN.append(
    '''"""Says "two" words, and \\" one."""
def f(x, *, y=1.5e-3, z=.5j):  # a note
    if x <= -1_000 and not (y != z): return [1.0,
      2, # another

   "a" \'\' ""]
    x //= 3; x **= -y
    return x if x > 0 else {1: lambda: ..., **{}}
@decorated
class A: a: int = 0; b = u"u" + rb\'\\d\' + \'\'\'x
   y\'\'\'
''',
)
PIECES = [
    "",
    " ",
    "\n",
    "    ",
    "\t",
    "#",
    '"',
    "'",
    "\\",
    "\\\n",
    ":",
    "(",
    ")",
    "0",
    "_",
    "f",
    "x",
    "{",
    "=",
    "\f",
    "# c",
]


@settings(max_examples=5 * settings.default.max_examples)
@given(st.data())
def test_the_pattern_reads_plain_tokens_as_the_tokenizer_does(data):
    """Whatever was changed by hand, also where it is no program any more."""
    source = data.draw(st.sampled_from(PLAIN) | st.sampled_from(SNIPPETS))
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(source)))
        until = data.draw(st.integers(at, min(len(source), at + 3)))
        source = source[:at] + data.draw(st.sampled_from(PIECES)) + source[until:]
    assume(not python_form._ODD.search(source))
    found = python_form._plain(source)
    assert found is None or found == python_form.tokenized(source)


def test_the_pattern_reads_what_programs_full_of_numbers_are_made_of():
    for source in PLAIN:
        assert python_form._plain(source) == python_form.tokenized(source) is not None
    for odd in (
        'f"{x}"',
        "x = 0x_ff",
        "x \\\n = 1",
        "é = 1",
        "x = 1\n   ",
        "(]",
        "  x\n y",
        "open(x)",
        '"""x',
        "x$y",
    ):
        assert python_form._plain(odd) is None, odd


@pytest.mark.parametrize("piece", ["1", "a", "(", " ", "'", '"', '"""', "\\", "_1", "0.", "1e"])
def test_a_long_text_takes_the_pattern_no_longer_than_its_length(piece):
    """A pattern that goes back would be at it for hours, and the time limit of tests end it."""
    assert python_form._plain(f"x = {piece * (2_000_000 // len(piece))}$") is None


@settings(max_examples=300)
@given(st.data())
def test_python_programs_of_one_form_are_one_program(data):
    """Whatever was changed by hand: where the form stays, so does the tree, or there is neither."""
    source = data.draw(st.sampled_from(SNIPPETS[-3:]) | st.sampled_from([s[-600:] for s in SNIPPETS]))
    at = data.draw(st.integers(0, len(source)))
    until = data.draw(st.integers(at, min(len(source), at + 3)))
    piece = data.draw(st.sampled_from(PIECES))
    other = source[:at] + piece + source[until:]
    if python(source) is not None and python(source) == python(other):
        assert tree(other) == tree(source)


@settings(max_examples=3 * settings.default.max_examples)
@given(st.text(st.sampled_from(list("ab1 .\n\t\\\"'#():=,{}fr")), max_size=24), st.data())
def test_any_text_of_the_form_of_another_is_the_same_python(text, data):
    assume(python(text) is not None)
    at = data.draw(st.integers(0, len(text)))
    other = (
        text[:at] + data.draw(st.sampled_from([" ", "\n", "  ", "#x\n", "\\\n", "\t", " \n "])) + text[at:]
    )
    if python(other) == python(text):
        assert tree(other) == tree(text)


SAME_PYTHON = [
    ("x = 1", "x=1  # one\n\n\n"),
    ("def f():\n  return 1", "def f():\n\n        # why\n        return 1\n# end"),
    ("f(1,\n  2)", "f(1, 2)"),
    ("x = 1 + \\\n    2", "x = 1 + 2"),
    ("x = f'{a  +  b}' # c", "x  =  f'{a  +  b}'"),
]
OTHER_PYTHON = [
    ("x = 'a b'", "x = 'a  b'"),
    ("x = '#'", "x = '# '"),
    ("x = f'{a + b}'", "x = f'{a+b}'"),
    ('"""doc"""', '"""doc """'),
    ("if a:\n b\nc", "if a:\n b\n c"),
    ("a\nb", "a;b"),
    ("x = 1", "y = 1"),
    ("x = 10", "x = 1_0"),
    ("(a)", "a"),
    # Lines end at "\n" alone, whatever else a reader may take for the end of one.
    ("x = '\u2028'\ny = f'{a}'\nz", "x = '\u2028'\ny = f'{b}'\nz"),
    ("x = '\x85\x1c'\ny = f'{a}'\nz\nw", "x = '\x85\x1c'\ny = f'{b}'\nz\nw"),
]
NO_PYTHON = [
    *(
        "x = (",
        "'",
        "if a:\n\tb",
        "if a:\n  b\n c",
        "x = $",
        "# coding: latin-1\nx = 1",
        "\n# -*- coding=x",
        "x\r\n",
    ),
    *(
        "\ufeffx = 1",
        "x\f",
        "print(__file__)",
        "import inspect",
        "open('x')",
        "f = f'{sys._getframe()}'",
        "x\0",
    ),
    "if a:\n    b\n\\\n    c\n",
]


def test_what_is_equal_in_python_and_what_is_not():
    for one, other in SAME_PYTHON:
        assert python(one) == python(other) is not None, one
    for one, other in OTHER_PYTHON:
        assert None is not python(one) != python(other) is not None, one
    for source in NO_PYTHON:
        assert python(source) is None, source
    # From Python 3.12 quotes may stand in f-strings, so that the blanks here are a key's.
    assert python("f'{d['a']}'") is None or python("f'{d['a']}'") != python("f'{d[' a ']}'")
    python("x = '\ud800'")  # half of a pair, which later tokenizers refuse by an error of their own
    assert python("# opens a file\nx = 'open'\nx.reopen()") is not None


SAME_C = [
    ("int a; // one", "int  a;\n/* two\n */\n"),
    ("a/**/b", "a b"),
    ("#define F (x)\nint y;", "\n#define   F /* c\n c */ (x) // d\n\n  int\ty;"),
    ("int x = 1'000'000; // it's", "int x =\n1'000'000;"),
    ("char q = '\"'; // \"", "char q = '\"';"),
    ('auto s = R"x(a // b)" )x"; // c', 'auto s = R"x(a // b)" )x";'),
    ("#include <a//b>\nint x; // c", "#include <a//b>\nint x;"),
]
OTHER_C = [
    ('s = "a  b"', 's = "a b"'),
    ('s = "a // b"', 's = "a // c"'),
    ('s = "\\" // b"', 's = "\\" // c"'),
    ("c = '\\'' // b\n;", "c = '\\\\' // b\n;"),
    ('s = R"(a  b)"', 's = R"(a b)"'),
    ('s = R"x(a)" // )x"', 's = R"x(a)" /*  )x"'),
    ('s = uR"(//)"', 's = uR"(/*)"'),
    ('s = FooR"(//)"', 's = FooR"(/)"'),
    ("#define F (x)", "#define F(x)"),
    ("#define A\nb", "#define A b"),
    ("a+b", "a + b"),
    ("ab", "a b"),
    ("x = 1'0; y = '/*'; z = '*/'", "x = 1'0; y = '/'; z = '*/'"),
    ("a;\n#if 1\nb;\n#endif", "a; #if 1\nb;\n#endif"),
]
NO_C = [
    *(
        "/* open",
        '"open',
        "'",
        '#error don"t',
        'R"x(open)y"',
        "int a; \\\nint b;",
        "a ??/ b",
        "%:define X",
        "a\rb",
    ),
    *("int x = __LINE__;", "auto l = std::source_location::current();", "import std;"),
    *("#/**/include <a//b>\nint x;", "#if __has_include(<a//b>)\n#endif", "auto f = fopen(__FILE__, mode);"),
    '#pragma GCC diagnostic error "-Wmisleading-indentation"\nint x;',
]


def test_what_is_equal_in_c_and_what_is_not():
    for one, other in SAME_C:
        assert c(one) == c(other) is not None, one
    for one, other in OTHER_C:
        assert c(one) != c(other), one
    for source in NO_C:
        assert c(source) is None, source


SAME_RUST = [
    ("let a = 1; // one", "let  a =\n 1; /* two /* nested */ */ "),
    ("fn f<'a>(x: &'a str) {} // '", "fn f<'a>(x: &'a str)  {}"),
    ("let q = '\"'; // \"", "let q = '\"';"),
    ("let l = 'a'; 'outer: loop {} // x", "let l = 'a'; 'outer: loop {}"),
    ('let s = r#"a // " b"#; // c', 'let s = r#"a // " b"#;'),
    ("let r#type = 1; // c", "let r#type = 1;"),
    ("a; //// no documentation", "a;"),
    ("a; /*** none */ /**/ b", "a; b"),
]
OTHER_RUST = [
    ('"a  b"', '"a b"'),
    ('"a // \\" b"', '"a // \\" c"'),
    ("('\\'', '/')", "('/', '\\'')"),
    ('r##"a"# // b"##', 'r##"a"# // c"##'),
    ('b"//"', 'b"/*"'),
    ("/// told\nfn f() {}", "/// told differently\nfn f() {}"),
    ("//! told\n", "//! so\n"),
    ("/** a */ b", "/** c */ b"),
    ("'a", "'b"),
    ("a - - b", "a -- b"),
    ('"a\nb"', '"a b"'),
    ("'\\u{41}'", "'\\u{42}'"),
]
NO_RUST = [
    "/* /* open */",
    '"open',
    "'",
    'r#"open"',
    'println!("{}", line!())',
    "std::fs::read_to_string(file!())",
    "set_hook(Box::new(|p| said(p.location().unwrap().line())))",
    "#!/bin/sh\n",
    "a\u2028b",
]


def test_what_is_equal_in_rust_and_what_is_not():
    for one, other in SAME_RUST:
        assert rust(one) == rust(other) is not None, one
    for one, other in OTHER_RUST:
        assert rust(one) != rust(other), one
    for source in NO_RUST:
        assert rust(source) is None, source
    assert rust("#![allow(unused)]\nfn main() {}") is not None


NOTES = [" ", "\n", "/* ' */", '/* " */', "// '\n", '// "\n', "/*\n*/", "  "]


@settings(max_examples=120)
@given(st.data())
def test_notes_between_tokens_of_c_and_rust_leave_what_another_reader_sees(data):
    form, pool = data.draw(st.sampled_from([(c, SAME_C + OTHER_C), (rust, SAME_RUST + OTHER_RUST)]))
    lines = st.lists(st.sampled_from(list(itertools.chain(*pool))), min_size=1, max_size=3)
    source = "\n".join(data.draw(lines))
    at = data.draw(st.integers(0, len(source)))
    other = source[:at] + data.draw(st.sampled_from(NOTES)) + source[at:]
    if form(source) is not None and form(source) == form(other):
        assert pieces(source, nests=form is rust) == pieces(other, nests=form is rust)


RAW = re.compile(r'(?:u8|[uUL])?R"([^ ()\\]*)\(.*?\)\1"|b?r(#*)".*?"\2', re.DOTALL)
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\\n]|\\[^u]|\\u\{\w+\})\'', re.DOTALL)


def pieces(source, nests):
    """What stands outside comments, found by a reader that goes character by character: literals, words, signs."""
    found, at, documents = [], 0, r"///(?!/)|//!|/\*\*(?![*/])|/\*!"
    while at < len(source):
        kept = nests and re.compile(documents).match(source, at)
        start = at
        if source.startswith("//", at):
            at = source.find("\n", at) if "\n" in source[at:] else len(source)
        elif source.startswith("/*", at):
            depth, at = 1, at + 2
            while depth:
                sign = source[at : at + 2]
                depth += (nests and sign == "/*") - (sign == "*/")
                at += 2 if sign == "*/" or (nests and sign == "/*") else 1
        elif (
            match := RAW.match(source, at)
            or QUOTED.match(source, at)
            or re.compile(r"[\w'.]+").match(source, at)
        ):
            at, kept = match.end(), True
        else:
            at, kept = at + 1, not source[at].isspace()
        if kept:
            found.append(source[start:at])
    return found


def test_texts_and_data_have_no_form_and_nothing_whose_file_another_program_reads():
    for language in ("text", "markdown", "json", "javascript"):
        assert normalised(ProblemSettings(language=language), "x  # y") is None
    counted = ProblemSettings(language="cpp", command=("cloc", "{program}"))
    strict = ProblemSettings(language="cpp", build=("g++", "-Werror", "{program}", "-o", "{binary}"))
    assert normalised(counted, "int x;") is normalised(strict, "int x;") is None
    assert normalised(ProblemSettings(command=("python3", "-O", "{program}")), "x  # y\n") == "x\n"
    for command in (
        ("python3", "count_lines.py", "{program}"),
        ("python3", "-m", "tokenize", "{program}"),
        ("python3", "{program}", "{program}"),
    ):
        assert normalised(ProblemSettings(command=command), "x  # y\n") is None, command
    for build, is_read in (
        (("/usr/bin/x86_64-linux-gnu-g++-13", "-O2", "{program}"), False),
        (("sh", "-c", "g++ -O2 -o {binary} *.cpp"), False),
        (("sh", "-c", "wc -l {program} > n.h; g++ {program}"), True),
        (("./strict-compiler", "{program}"), True),
    ):
        read = normalised(ProblemSettings(language="cpp", build=build), "int x; // c")
        assert (read is None) == is_read, build


def test_files_keep_their_borders_and_those_of_other_languages_all(tmp_path):
    def form(**files):
        text = bundled({name.replace("_", "."): content for name, content in files.items()})
        return normalised(ProblemSettings(), text, has_files=True)

    assert form(main_py="a # b\n", data_txt="x  y\n") == form(main_py="a\n\n", data_txt="x  y\n") is not None
    assert form(main_py="a\n", data_txt="x  y\n") != form(main_py="a\n", data_txt="x y\n")
    assert form(main_py="a\n", b_py="c\n") != form(main_py="a\nc\n", b_py="")
    assert form(main_py="a\n", b_py="'\n") is None
    assert normalised(ProblemSettings(), "a\n", has_files=True) is None


def test_a_form_is_never_taken_for_a_source(tmp_path):
    (tmp_path / "p.py").write_text(
        "from discovery import problem\n"
        "@problem(name='p', statement='s', initial='x = 1\\n')\ndef score(program):\n    return 1.0\n"
    )
    problem = load_problem(str(tmp_path / "p.py"))
    assert form_of(problem, "x = 1 # one") == form_of(problem, "x=1") != None  # noqa: E711
    import hashlib

    assert form_of(problem, "x=1") != hashlib.sha256(python("x=1").encode()).hexdigest()
    assert form_of(problem, "x = (") is None
