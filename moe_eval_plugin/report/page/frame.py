"""Fill in the template of a page: one HTML file with its styles, scripts, charts and data."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from moe_eval_plugin.report.charts.theme import DARK, LIGHT, css_variables, page_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.charts.base import Figure

TEMPLATE = "template"
# What the page's own scripts can use of the libraries that draw the charts.
BUNDLE = "window.vegaEmbed = vegaEmbed;"
ICON_SIDE = 4


@dataclass(frozen=True)
class PageFiles:
    """The files that a page is made of; each is in the folder ``template`` of a package."""

    packages: tuple[str, ...]
    """Packages to look in; the first that has a file of a name provides it."""
    name: str
    """Template of the page, which extends ``frame.html``."""
    styles: tuple[str, ...]
    """Names of its style sheets, in their order."""
    scripts: tuple[str, ...]
    """Names of its scripts, in their order."""
    generator: str
    """Command that makes it."""


def filled(files: PageFiles, figures: Sequence[Figure], **parts: Any) -> str:  # noqa: ANN401
    """Return a page; ``parts`` are what its template and the frame name.

    The template escapes text, and scripts with other hashes do not run.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name, TEMPLATE) for name in files.packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = [_source(environment, f"scripts/{name}.js") for name in files.scripts]
    scripts = [_closed(one) for one in (_libraries(), *own)]
    style = "\n".join(_source(environment, f"styles/{name}.css") for name in files.styles)
    charts = {"config": page_config(), "specs": [_spec(one) for one in figures]}
    text: str = environment.get_template(files.name).render(
        **parts,
        charts=charts,
        light=Markup(css_variables(LIGHT)),  # noqa: S704  (our own colours)
        dark=Markup(css_variables(DARK)),  # noqa: S704
        style=Markup(style),  # noqa: S704  (our own file, and so are the scripts)
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        hashes=[_content_hash(script) for script in scripts],
        generator=files.generator,
        version=version("moe-eval-plugin"),
        date=datetime.now(UTC),
        icon=_icon(),
    )
    return text


@cache
def _libraries() -> str:
    """Return the libraries that draw the charts; putting them together takes seconds."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(BUNDLE)
    return bundle


def _icon() -> str:
    """Return the page's icon: sixteen experts, four of which are used."""
    dots = "".join(
        f"<circle cx='{4 * column + 2}' cy='{4 * row + 2}' r='1.6' "
        f"fill='{'#007a5a' if row == column else '#9aa3ad'}'/>"
        for row in range(ICON_SIDE)
        for column in range(ICON_SIDE)
    )
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>{dots}</svg>"
    return f"data:image/svg+xml,{quote(svg)}"


def _source(environment: Any, name: str) -> str:  # noqa: ANN401  (jinja2 is optional)
    source: str = environment.loader.get_source(environment, name)[0]
    return source


def _closed(script: str) -> str:
    """Escape what would end the element of a script in the middle."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _content_hash(script: str) -> str:
    """Return the hash with which the content security policy of the page lets a script run."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _spec(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "spec": {**figure.chart.to_dict(), "description": figure.description},
    }
