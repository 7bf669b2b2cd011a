"""Fill in the template of a report: one HTML file with its styles, scripts and data."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from moe_eval_plugin.report.charts.theme import DARK, LIGHT, css_variables, page_config

if TYPE_CHECKING:
    from moe_eval_plugin.report.charts.base import Figure

TEMPLATE = "template"
# Both are put into the page in this order.
SCRIPTS = (
    "read",
    "address",
    "tables",
    "viewer",
    "questions",
    "charts",
    "copy",
    "answer",
    "page",
)
STYLES = (
    "base",
    "answer",
    "charts",
    "tables",
    "questions",
    "copy",
    "print",
    "first_sheet",
)
# What the page's own scripts can use of the libraries that draw the charts.
BUNDLE = "window.vegaEmbed = vegaEmbed;"
GENERATOR = "moe-eval report"
ICON_SIDE = 4


def page_text(**parts: Any) -> str:  # noqa: ANN401
    """Return the page; the template escapes text, and scripts with other hashes do not run."""
    import vl_convert
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("moe_eval_plugin.report.page", TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = [_source(environment, f"scripts/{name}.js") for name in SCRIPTS]
    scripts = [_closed(one) for one in (vl_convert.javascript_bundle(BUNDLE), *own)]
    style = "\n".join(_source(environment, f"styles/{name}.css") for name in STYLES)
    charts = {"config": page_config(), "specs": [_spec(one) for one in parts["figures"]]}
    text: str = environment.get_template("report.html").render(
        **parts,
        charts=charts,
        light=Markup(css_variables(LIGHT)),  # noqa: S704  (our own colours)
        dark=Markup(css_variables(DARK)),  # noqa: S704
        style=Markup(style),  # noqa: S704  (our own file, and so are the scripts)
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        hashes=[_content_hash(script) for script in scripts],
        generator=GENERATOR,
        version=version("moe-eval-plugin"),
        date=datetime.now(UTC),
        icon=_icon(),
    )
    return text


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
