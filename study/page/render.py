"""Render a page: one HTML file that needs nothing else, offline, in print, on a phone and in dark mode."""

import re
from functools import cache

import jinja2
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from study.page.blocks import Block, Chart, Page
from study.page.charts.style import DARK, channels


def render_page(page: Page) -> str:
    """Return the HTML of a page. plotly.js is in it once, if the page has a chart."""
    blocks = [block for section in page.sections for part in section.parts for block in part.blocks]
    has_charts = _have_chart(blocks)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            has_charts=has_charts,
            plotly_js=Markup(get_plotlyjs() if has_charts else ""),
            dark_colours=_dark_colours(),
        )
    )


def _have_chart(blocks: list[Block]) -> bool:
    return any(isinstance(block, Chart) for block in blocks)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("study.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["script_json"] = script_json
    environment.filters["breakable"] = breakable
    environment.filters["class_words"] = class_words
    return environment


def script_json(text: str) -> Markup:
    r"""Return JSON such that it cannot end the script element that holds it.

    >>> script_json('"</script>"')
    Markup('"\\u003c/script>"')
    """
    return Markup(text.replace("<", "\\u003c"))


def class_words(name: str) -> str:
    """Return the name of a class as words, if it is that of a numbered folder.

    >>> class_words("042.Vermilion_Flycatcher"), class_words("id_00000307")
    ('Vermilion Flycatcher', 'id_00000307')
    """
    return re.sub(r"^\d+\.", "", name).replace("_", " ") if re.match(r"\d+\.\D", name) else name


def breakable(value: object) -> Markup:
    """Return a cell as HTML: a line may break after an underscore, and not within an interval in brackets.

    >>> breakable("a_b<")
    Markup('a_<wbr>b&lt;')
    >>> breakable("0.5 [0.4, 0.6]")
    Markup('0.5 [0.4,&nbsp;0.6]')
    """
    intervals = re.sub(r"\[[^\]]*\]", lambda found: found[0].replace(" ", "&nbsp;"), str(escape(value)))
    return Markup(intervals.replace("_", "_<wbr>"))


def _dark_colours() -> list[tuple[str, str]]:
    """Return each colour of the charts as plotly writes it in a style, with its form in dark mode."""
    return [("rgb({}, {}, {})".format(*channels(light)), dark) for light, dark in DARK.items()]
