"""Check the structure of LaTeX without a TeX: what would stop pdfLaTeX, or be printed wrongly."""

from __future__ import annotations

import re

# Commands of the LaTeX kernel and of booktabs.
KNOWN = {
    *("begin", "end", "centering", "caption", "label", "small", "toprule", "midrule"),
    *("bottomrule", "scriptsize", "footnotesize", "par", "smallskip", "textbf", "textsuperscript"),
    *("textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"),
    *("textendash", "cdot", "shortstack", "setlength", "tabcolsep", "symbol", "times"),
}
COMMAND = re.compile(r"\\([A-Za-z]+)")


def check_latex(text: str) -> None:
    """Assert ASCII, known commands, balanced braces and environments, and cells in each row."""
    assert text.isascii()
    text = "\n".join(line for line in text.splitlines() if not line.startswith("% "))
    assert set(COMMAND.findall(text.replace("\\\\", " "))) <= KNOWN
    plain = re.sub(r"\\[^A-Za-z]", lambda found: "\n" if found[0] == "\\\\" else "", text)
    depth = 0
    for one in plain:
        depth += (one == "{") - (one == "}")
        assert depth >= 0
    assert depth == 0
    assert plain.count("$") % 2 == 0
    assert not set("#%^~_") & set(plain)
    environments = re.findall(r"\\(begin|end)\{([^}]*)\}", text)
    opened: list[str] = []
    for which, name in environments:
        if which == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    columns = re.search(r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}", text)
    if columns:
        rows = re.findall(r"^(.*) \\\\$", text, re.MULTILINE)
        assert rows
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns[1])}
