"""Write the README inside a bundle, for readers who do not have this package."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from moe_eval_plugin.hosts.harness import LM_EVAL, LMMS_EVAL
from moe_eval_plugin.publish.bundle.commands import OUTPUT

if TYPE_CHECKING:
    from moe_eval_plugin.publish.bundle.description import BundleDescription, Checkpoint

OUTPUT_FOLDER = "again"
# Names of files in the form that each host gives them.
RESULTS = {LMMS_EVAL: "*_results.json", LM_EVAL: "results_*.json"}
SAMPLES = {LMMS_EVAL: "*_samples_*.jsonl", LM_EVAL: "samples_*.jsonl"}
STUDY_ROW = "| `study.yaml` | the settings, for `moe-eval sweep study.yaml --output again` |\n"

PAGE = """\
# A finished evaluation, to be repeated

This archive holds {what}, run {made}with {model}. It was packed by moe-eval-plugin.

| file | content |
|---|---|
| `run/` | results and samples, as {host} wrote them; timed passes of a sweep |
| `bundle.json` | commands, checkpoint, versions and machine |
{study}| `requirements.txt` | every package of the environment, with its version |
| `SHA256SUMS` | a checksum of each file |

Images and weights are not included. The samples contain the names of their images; the tasks read
them again from their source.{checkpoint}
{warnings}
## Check the files

```console
sha256sum --check SHA256SUMS
```

## Run it again

With moe-eval-plugin, on the archive itself:

```console
moe-eval reproduce ARCHIVE.tar.gz
```

Without it, in an empty environment of Python {python}:

```console
pip install -r requirements.txt
{commands}
```

The checksums inside detect damage, not tampering: compare the archive itself with a sha256 that its
authors publish.

{points}Lines of `requirements.txt` that begin with `#` are packages that came from a local folder:
install those from their published source. A package built for one kind of hardware, torch above
all, may need the index of its project.

## Compare

The accuracy is in `{results}` under `results`; speed, memory and observed experts are under
`moe_eval`. Two runs over the same questions are compared in pairs, by the ids in
`{samples}`; `moe-eval compare` does that. The number of experts that tokens were observed
to use must be equal. Speed depends on the machine: compare the speed-up over the published k.
"""


def readme_text(bundle: BundleDescription) -> str:
    """Return the README for the content of ``bundle.json``."""
    points = list(bundle.points)
    what = f"a sweep of {len(points)} settings ({', '.join(points)})"
    checkpoint = bundle.checkpoint
    revision = f" at revision {checkpoint.revision}" if checkpoint.revision else ""
    return PAGE.format(
        what=what if bundle.of_sweep else "a run",
        made=f"at {bundle.made} " if bundle.made else "",
        model=f"`{checkpoint.pretrained}`{revision}",
        checkpoint=_checkpoint_text(checkpoint),
        warnings="".join(f"\n- {warning}" for warning in bundle.warnings)
        + ("\n" if bundle.warnings else ""),
        python=".".join((bundle.python or "").split(".")[:2]),
        commands="\n".join(map(_shell, bundle.commands)),
        study=STUDY_ROW if bundle.of_sweep else "",
        points=_points_text(bundle) if bundle.of_sweep else "",
        host=bundle.host,
        results=RESULTS[bundle.host],
        samples=SAMPLES[bundle.host],
    )


def _points_text(bundle: BundleDescription) -> str:
    """List the command of each point of a sweep, for users who schedule them otherwise."""
    listed = "\n".join(
        _shell(command, f"{OUTPUT_FOLDER}/{name}") for name, command in bundle.host_commands.items()
    )
    how = f"Or setting by setting, with the command of {bundle.host}:"
    return f"{how}\n\n```console\n{listed}\n```\n\n"


def _shell(command: list[str], folder: str = OUTPUT_FOLDER) -> str:
    return shlex.join(folder if part == OUTPUT else part for part in command)


def _checkpoint_text(checkpoint: Checkpoint) -> str:
    if not checkpoint.is_local_folder:
        return ""
    text = (
        f" The checkpoint is the local folder `{checkpoint.pretrained}` of the original "
        "machine. You need a copy"
    )
    if not checkpoint.sha256:
        return f"{text}."
    listed = "\n".join(f"{digest}  {name}" for name, digest in checkpoint.sha256.items())
    return f"{text}, with these files among others:\n\n```text\n{listed}\n```"
