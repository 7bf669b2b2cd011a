"""The search of the documentation, its index and its links find options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.extensions import built, extension, found_objects

if TYPE_CHECKING:
    from pathlib import Path

EXTENSIONS = ("command_help", "families_table", "host_options", "options_table")
PAGES = {
    "commands.md": "# Commands\n\n```{command-help}\n```\n",
    "models.md": (
        "# Models\n\n## One\n\n```{options-table} moe_hf\n```\n\n"
        "## Two\n\n```{options-table} lm_eval_moe_hf\n```\n\n"
        "## Three\n\n```{host-options} used\n```\n\n```{host-options} refused\n```\n\n"
        "## Four\n\n```{families-table} vision\n```\n\n"
        "[how many pixels](models.md#moe-hf-max-pixels)\n"
    ),
    "first.md": (
        "# First\n\n[the k](commands.md#sweep-experts-k)\n\n```{toctree}\ncommands\nmodels\n```\n"
    ),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    for name in EXTENSIONS:
        extension(name, repository_root)
    for name, text in PAGES.items():
        (folder / name).write_text(text, "utf-8")
    return built(folder, *EXTENSIONS, first="first")


def test_the_search_finds_options_of_commands_and_arguments_of_models(site: Path) -> None:
    found = found_objects(site)

    option, argument = "option of a command", "argument of a model"
    assert found["moe-eval sweep --experts-k"] == (option, "commands.html#sweep-experts-k")
    assert found["moe-eval bench --batch-sizes"] == (option, "commands.html#bench-batch-sizes")
    assert found["moe-eval --no-progress"] == (option, "commands.html#moe-eval-no-progress")
    assert found["moe_hf max_pixels"] == (argument, "models.html#moe-hf-max-pixels")
    where = "models.html#lmms-eval-num-fewshot"
    assert found["lmms-eval --num_fewshot"] == (option, where)
    where = "models.html#family-qwen3-vl-moe"
    assert found["qwen3_vl_moe"] == ("family of models", where)
    where = "models.html#lm-eval-moe-hf-experts-k"
    assert found["lm-eval moe_hf experts_k"] == (argument, where)


def test_all_that_the_search_finds_is_there(site: Path) -> None:
    pages = {path.name: path.read_text("utf-8") for path in site.glob("*.html")}

    links = [link.partition("#") for _, link in found_objects(site).values()]

    assert len(links) > 150
    assert [link for link in links if f'id="{link[2]}"' not in pages[link[0]]] == []


def test_the_general_index_has_options(site: Path) -> None:
    index = (site / "genindex.html").read_text("utf-8")

    assert 'href="commands.html#sweep-experts-k"' in index
    assert 'href="models.html#moe-hf-max-pixels"' in index


def test_pages_link_to_options(site: Path) -> None:
    assert 'href="commands.html#sweep-experts-k"' in (site / "first.html").read_text("utf-8")
    assert 'href="#moe-hf-max-pixels"' in (site / "models.html").read_text("utf-8")
