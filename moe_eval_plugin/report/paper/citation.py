"""BibTeX entries of what a report was made with: this software, hosts, models and data sets."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.results.score_facts import ScoreFacts

# The facts of CITATION.cff, which is not installed with the package.
TITLE = "moe-eval-plugin"
AUTHOR = "The moe-eval-plugin authors"
YEAR = 2026
HUB = "https://huggingface.co"
LMMS_EVAL = """\
@misc{lmms-eval,
  title = {{LMMs-Eval}: Reality Check on the Evaluation of Large Multimodal Models},
  author = {Zhang, Kaichen and Li, Bo and Zhang, Peiyuan and Pu, Fanyi and Cahyono, Joshua Adrian
    and Hu, Kairui and Liu, Shuai and Zhang, Yuanhan and Yang, Jingkang and Li, Chunyuan and Liu,
    Ziwei},
  year = {2024},
  eprint = {2407.12772},
  archivePrefix = {arXiv},
}
"""
LM_EVAL = """\
@misc{eval-harness,
  title = {The Language Model Evaluation Harness},
  author = {Gao, Leo and Tow, Jonathan and Abbasi, Baber and Biderman, Stella and Black, Sid and
    DiPofi, Anthony and Foster, Charles and Golding, Laurence and Hsu, Jeffrey and Le Noac'h, Alain
    and Li, Haonan and McDonell, Kyle and Muennighoff, Niklas and Ociepa, Chris and Phang, Jason and
    Reynolds, Laria and Schoelkopf, Hailey and Skowron, Aviya and Sutawika, Lintang and Tang, Eric
    and Thite, Anish and Wang, Ben and Wang, Kevin and Zou, Andy},
  year = {2024},
  publisher = {Zenodo},
  doi = {10.5281/zenodo.12608602},
}
"""
HOSTS = {"lmms-eval": LMMS_EVAL, "lm-eval": LM_EVAL}
OKVQA = """\
@inproceedings{okvqa,
  title = {{OK-VQA}: A Visual Question Answering Benchmark Requiring External Knowledge},
  author = {Marino, Kenneth and Rastegari, Mohammad and Farhadi, Ali and Mottaghi, Roozbeh},
  booktitle = {Conference on Computer Vision and Pattern Recognition ({CVPR})},
  year = {2019},
}
"""
VQA_V2 = """\
@inproceedings{vqa-v2,
  title = {Making the {V} in {VQA} Matter: Elevating the Role of Image Understanding in Visual
    Question Answering},
  author = {Goyal, Yash and Khot, Tejas and Summers-Stay, Douglas and Batra, Dhruv and
    Parikh, Devi},
  booktitle = {Conference on Computer Vision and Pattern Recognition ({CVPR})},
  year = {2017},
}
"""
EASY_VQA = """\
@misc{easy-vqa,
  title = {{easy-VQA}},
  author = {Zhou, Victor},
  howpublished = {\\url{https://pypi.org/project/easy-vqa}},
}
"""
# Data sets by the beginning of the names of their tasks.
DATA_SETS = {"okvqa": OKVQA, "vqa_v2": VQA_V2, "vqav2": VQA_V2, "easy_vqa": EASY_VQA}


def bibliography(series: Sequence[SeriesStatistics]) -> str:
    """Return a BibTeX entry for this software, each host, each model on the Hub, and each data set.

    A data set that is not known here is cited by its repository on the Hub.
    """
    facts = [one.points[0].first.facts for one in (numbers.series for numbers in series)]
    hosts = [HOSTS[one.host] for one in facts if one.host in HOSTS]
    entries = [_software(), *hosts, *(found for one in facts for found in _of_run(one))]
    return "\n".join(dict.fromkeys(entries))


def _software() -> str:
    return _entry(
        "misc",
        TITLE,
        title=f"{{{TITLE}}}",
        author=f"{{{AUTHOR}}}",
        year=str(YEAR),
        note=f"Version {version(TITLE)}",
    )


def _of_run(facts: ScoreFacts) -> Iterator[str]:
    if facts.hub_model is not None:
        yield _of_repository(facts.hub_model, f"{HUB}/{facts.hub_model}", facts.model_revision)
    known = next((text for task, text in DATA_SETS.items() if facts.task.startswith(task)), None)
    if known is not None:
        yield known
    elif facts.dataset is not None:
        url = f"{HUB}/datasets/{facts.dataset}"
        yield _of_repository(facts.dataset, url, facts.data_revision)


def _of_repository(name: str, url: str, revision: str | None) -> str:
    note = f"Revision {revision}" if revision else None
    owner = name.partition("/")[0]
    where = f"\\url{{{url}}}"
    return _entry(
        "misc",
        re.sub(r"[^A-Za-z0-9.-]+", "-", name),
        title=f"{{{_plain(name)}}}",
        author=f"{{{_plain(owner)}}}",
        howpublished=where,
        note=note,
    )


def _entry(kind: str, key: str, **fields: str | None) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key.lower()},", *lines, "}", ""])


def _plain(name: str) -> str:
    """Return the name of a repository, which has letters, digits and ``._-`` alone, for BibTeX."""
    return name.replace("_", r"\_")
