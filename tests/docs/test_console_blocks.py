"""Each console block is run or says why not, and its commands have options that exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.command_options import refusal
from tests.docs.console_blocks import (
    MARK,
    PAGES,
    ROOT,
    all_blocks,
    blocks_in,
    blocks_of,
)
from tests.docs.console_shell import calls_here, recorded, run_blocks, with_options

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docs.console_blocks import Block

# The other programs that a block may use and be run; all come with a Linux system or with Python.
PROGRAMS = {
    *("bash", "cat", "cd", "cp", "cut", "diff", "export", "grep", "head", "jq", "ls", "mkdir"),
    *("mv", "python", "sed", "sha256sum", "sort", "tail", "tar", "tr", "wc"),
}
LEAST_OF_A_TUTORIAL = 4
LONGEST_LINE = 90
BLOCKS = all_blocks()


def where(block: Block) -> str:
    return block.where


def block(text: str, above: str = "") -> Block:
    page = f"# Page\n\n{above}\n```console\n{text}\n```\n"
    (found,) = blocks_in(page, "page.md")
    return found


def test_pages_are_found() -> None:
    assert len(PAGES) > 60
    assert len(BLOCKS) > 100


@pytest.mark.parametrize("block", BLOCKS, ids=where)
def test_a_mark_has_a_kind_and_a_content(block: Block) -> None:
    if not block.above:
        return
    found = MARK.fullmatch(block.above)
    assert found, f"{block.where}: {block.above.strip()} is no mark of a console block"
    assert found[2], f"{block.where}: the mark says nothing"
    for path in re.findall(r"\btests/[\w./-]*\w", found[2]):
        assert (ROOT / path).exists(), f"{block.where}: {path} does not exist"


@pytest.mark.parametrize("block", BLOCKS, ids=where)
def test_a_block_has_commands_only(block: Block) -> None:
    lines = block.text.splitlines()
    assert [line for line in lines if line.lstrip().startswith("$ ")] == []
    assert [line for line in lines if len(line) > LONGEST_LINE] == []
    recorded(block)  # raises where bash finds an error


@pytest.mark.parametrize("block", BLOCKS, ids=where)
def test_a_block_that_is_run_uses_known_programs(block: Block) -> None:
    if block.reason is None:
        names = {words[0] for words in recorded(block)}
        names -= {"moe-eval", "lmms-eval", *PROGRAMS}
        assert not names, f"{block.where}: run it without {names}, or mark it as not run"
        assert not block.options or calls_here(block), f"{block.where}: no command for the options"


@pytest.mark.parametrize("block", BLOCKS, ids=where)
def test_the_options_of_a_command_exist(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if block.exit_code or (block.reason or "").startswith("run by tests/"):
        return
    monkeypatch.chdir(tmp_path)
    refused = [found for words in calls_here(block) if (found := refusal(words))]
    assert refused == [], block.where


@pytest.mark.parametrize("page", ["first-run", "sweep-and-report"])
def test_the_tutorial_is_run(page: str) -> None:
    blocks = blocks_of(ROOT / "docs" / "tutorial" / f"{page}.md")
    assert len([one for one in blocks if one.reason is None]) >= LEAST_OF_A_TUTORIAL


def test_the_readme_is_run() -> None:
    blocks = blocks_of(ROOT / "README.md")
    assert [one for one in blocks if one.reason is None] != []


def test_a_mark_is_read() -> None:
    assert block("ls", "<!-- not run: needs a GPU -->").reason == "needs a GPU"
    assert block("ls", "<!-- run with: --limit 16 -->").options == ("--limit", "16")
    assert block("ls", "<!-- ends with: 2 -->").exit_code == 2
    assert block("ls", "<!-- not run: needs a GPU -->\n").reason is None
    assert block("ls").line == 4


def test_commands_are_split_as_bash_does() -> None:
    text = (
        'A=1 moe-eval inspect "a b" \\\n  --json | head\n'
        "for k in 8 4; do srun moe-eval bench $k; done  # all\n"
    )
    assert calls_here(block(text)) == [
        ["moe-eval", "inspect", "a b", "--json"],
        ["moe-eval", "bench", "8"],
        ["moe-eval", "bench", "4"],
    ]
    assert ["head"] in recorded(block(text))


def test_options_replace_those_of_the_same_name() -> None:
    given = ["sweep", "--limit", "500", "--tasks", "a", "b", "--limit=3"]
    assert with_options(given, ["--limit", "16"]) == ["sweep", "--tasks", "a", "b", "--limit", "16"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("moe-eval sweep --outptu x", "--outptu"),
        ("moe-eval sweep --output x --launcher some", "--launcher"),
        ("moe-eval sweep --output x --model-args pretrained=demo,devicemap=auto", "devicemap"),
        ("lmms-eval --model moe_hf --limits 3", "--limits"),
        ("lmms-eval --model moe_hf --model_args pretrained=demo,expert_k=4", "expert_k"),
        ("moe-eval lm-eval run --model moe_hf --taks a", "--taks"),
    ],
)
def test_a_wrong_option_is_found(command: str, message: str) -> None:
    (words,) = calls_here(block(command))
    assert message in (refusal(words) or "")


def test_a_page_is_one_shell_in_one_folder(tmp_path: Path) -> None:
    text = (
        "# Page\n\n```console\nexport NAME=moe\nmkdir a\ncd a\n```\n\n"
        '```console\ntest "$NAME" = moe\npwd\nmoe-eval \\\n  --version > version.txt\n```\n\n'
        "<!-- ends with: 2 -->\n```console\nmoe-eval swep\n```\n\n"
        "<!-- run with: --json -->\n```console\nmoe-eval tasks\nmoe-eval tasks\n```\n"
    )
    printed = run_blocks(blocks_in(text, "page.md"), tmp_path)
    assert printed.startswith(f"{tmp_path / 'a'}\n")
    assert "Did you mean sweep?" in printed
    assert "moe-eval-plugin" in (tmp_path / "a" / "version.txt").read_text()
    assert printed.count('"easy_vqa"') == 1


def test_a_command_that_fails_is_named_with_its_line(tmp_path: Path) -> None:
    text = "# Page\n\n```console\nls\nmoe-eval swep\nls\n```\n"
    with pytest.raises(AssertionError, match=r"page\.md:5: exit code 2: moe-eval swep"):
        run_blocks(blocks_in(text, "page.md"), tmp_path)
    text = "# Page\n\n<!-- ends with: 2 -->\n```console\nls\n```\n"
    with pytest.raises(AssertionError, match=r"page\.md:4: the exit code is 0, not 2"):
        run_blocks(blocks_in(text, "page.md"), tmp_path)
