"""Templates into pages: Jinja, escaping everything, and complaining of a name that nobody has set."""

from __future__ import annotations

from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

_pages: Final = Environment(
    loader=PackageLoader("admin"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: object) -> str:
    """Fill a template in."""
    return _pages.get_template(template).render(values)
