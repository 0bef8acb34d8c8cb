"""The charts of the report: Vega-Lite specifications, each with a still picture of itself.

Colours are CSS variables of the page, so that one chart serves the light and the dark page.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt
import vl_convert
from markupsafe import Markup

VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
SERIES_COLORS = 8
"""The page's style sheet has that many colours for models, `--series-0` and so on."""


@dataclass(frozen=True)
class Figure:
    """A chart: `specification` draws it anew at any width, `picture` is it as an SVG element."""

    specification: dict[str, Any]
    picture: Markup


@cache
def library() -> str:
    """Return the script that draws the specifications; it defines `vegaEmbed`."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed", vl_version=VEGA_LITE))


def learning_curves(rows: Sequence[Mapping[str, Any]], baselines: Mapping[str, float]) -> Figure:
    """Draw bits per character against the characters read in training.

    Args:
        rows: The points: `name` (of one colour), `text` (`training` or `validation`),
            `characters`, `step`, `bits`, and `low` and `high`, the least and the most of several
            seeds, drawn as a band. Points above all validation scores are left out, for the
            differences in the end are small.
        baselines: Bits per character of baselines by name, drawn as rules.
    """
    pointed_at = _pointed_at("name", "text", "step")
    shown = [row["high"] for row in rows if row["text"] == "validation"] or [
        row["high"] for row in rows
    ]
    highest = max([*shown, *baselines.values()], default=1.0)
    lowest = min([*(row["low"] for row in rows), *baselines.values()], default=0.0)
    margin = 0.05 * (highest - lowest)
    rows = [row for row in rows if row["high"] <= highest + margin]
    points = alt.Chart(alt.InlineData(values=list(rows))).encode(
        x=alt.X(
            "characters:Q",
            title="characters read in training",
            axis=alt.Axis(format="~s", tickCount=4),
            scale=alt.Scale(zero=True),
        ),
        y=alt.Y(
            "bits:Q",
            title="bits per character",
            axis=alt.Axis(tickCount=5),
            scale=alt.Scale(domain=[lowest - margin, highest + margin], zero=False, nice=False),
        ),
        color=_color(rows),
        detail="text:N",
    )
    band = points.mark_area(opacity=0.2, interpolate="monotone").encode(y="low:Q", y2="high:Q")
    lines = points.mark_line(strokeWidth=2, interpolate="monotone").encode(
        strokeDash=alt.StrokeDash(
            "text:N",
            title=None,
            scale=alt.Scale(domain=["validation", "training"], range=[[1, 0], [2, 4]]),
        )
    )
    discs = _discs(
        points,
        pointed_at,
        alt.Tooltip("name:N", title="model"),
        alt.Tooltip("text:N"),
        alt.Tooltip("step:Q", format=","),
        alt.Tooltip("characters:Q", title="characters read", format=","),
        alt.Tooltip("bits:Q", title="bits per character", format=".3f"),
    )
    known, place = [], -math.inf
    for name, bits in sorted(baselines.items(), key=lambda each: each[1]):
        place = max(bits, place + margin)  # names of rules that are close do not overlap
        known.append({"baseline": name, "bits": bits, "place": round(place, 6)})
    rules = alt.Chart(alt.InlineData(values=known)).encode(
        y="bits:Q", color=alt.value("var(--muted)")
    )
    names_of_rules = rules.mark_text(align="left", dx=6, fontSize=12).encode(
        x=alt.value("width"), y="place:Q", text="baseline:N"
    )
    return _figure(
        alt.layer(
            rules.mark_rule(strokeDash=[6, 3]),
            names_of_rules,
            band,
            lines,
            points.mark_circle(size=18, opacity=1),
            discs,
        ),
        "Learning curves: bits per character on the training and the validation text against the "
        "characters read. The table below holds the same figures.",
        height=320,
    )


def loss_by_position(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw bits per symbol against the place in the document.

    Args:
        rows: The points: `name`, `from` and `to` (places, the second excluded), `bits`.
    """
    points = alt.Chart(alt.InlineData(values=list(rows))).encode(
        x=alt.X(
            "to:Q",
            title="symbols from the beginning of the document",
            scale=alt.Scale(type="log", base=2),
            axis=alt.Axis(format=",", tickCount=7),
        ),
        y=alt.Y(
            "bits:Q",
            title="bits per symbol",
            axis=alt.Axis(tickCount=5, format="~g"),
            scale=alt.Scale(type="log", base=2, nice=False),
        ),
        color=_color(rows),
    )
    discs = _discs(
        points,
        _pointed_at("name", "to"),
        alt.Tooltip("name:N", title="model"),
        alt.Tooltip("from:Q", title="from symbol", format=","),
        alt.Tooltip("to:Q", title="to before symbol", format=","),
        alt.Tooltip("bits:Q", title="bits per symbol", format=".3f"),
    )
    return _figure(
        alt.layer(points.mark_line(strokeWidth=2), points.mark_circle(size=18, opacity=1), discs),
        "Bits per symbol by the place in the document, on logarithmic scales: the curve falls as "
        "long as the model profits from what it has read.",
        height=240,
    )


def reliability(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw how often models are right against how sure they are.

    Args:
        rows: The points: `name`, `confidence`, `accuracy`, `symbols`.
    """
    percent = alt.Axis(format="%", tickCount=5)
    whole = alt.Scale(domain=[0, 1])
    points = alt.Chart(alt.InlineData(values=list(rows))).encode(
        x=alt.X("confidence:Q", title="how sure the model was", axis=percent, scale=whole),
        y=alt.Y("accuracy:Q", title="how often it was right", axis=percent, scale=whole),
        color=_color(rows),
    )
    discs = _discs(
        points,
        _pointed_at("name", "confidence"),
        alt.Tooltip("name:N", title="model"),
        alt.Tooltip("confidence:Q", title="sure", format=".1%"),
        alt.Tooltip("accuracy:Q", title="right", format=".1%"),
        alt.Tooltip("symbols:Q", format=","),
    )
    diagonal = (
        alt.Chart(alt.InlineData(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
        .mark_line(strokeDash=[6, 3], strokeWidth=1)
        .encode(x="x:Q", y="y:Q", color=alt.value("var(--muted)"))
    )
    return _figure(
        alt.layer(
            diagonal,
            points.mark_line(strokeWidth=2),
            points.mark_circle(size=18, opacity=1),
            discs,
        ),
        "Calibration: how often the likeliest symbol was right, by the probability that the model "
        "gave it. A model on the dashed line is as often right as it is sure.",
        height=240,
    )


def document_histogram(bits: npt.NDArray[np.float64], color: str) -> Figure:
    """Draw how many documents cost how many bits per character.

    The outermost bars also hold the documents that are farther than three times the interquartile
    range from the quartiles (Tukey's outer fences).

    Args:
        bits: Bits per character of each document, shape (documents,).
        color: The model's colour, as `series` names it.
    """
    lower, upper = np.quantile(bits, [0.25, 0.75])
    fences = 3 * (upper - lower) * np.array([-1, 1]) + [lower, upper]
    counts, edges = np.histogram(np.clip(bits, *fences), bins=40)
    values = [
        {"from": round(float(start), 4), "to": round(float(stop), 4), "documents": int(count)}
        for (start, stop), count in zip(pairwise(edges), counts, strict=True)
    ]
    chart = (
        alt.Chart(alt.InlineData(values=values))
        .mark_bar(binSpacing=1, fill=f"var(--{color})")
        .encode(
            x=alt.X(
                "from:Q",
                bin="binned",
                title="bits per character",
                axis=alt.Axis(tickCount=5),
            ),
            x2="to:Q",
            y=alt.Y(
                "documents:Q",
                title="documents",
                axis=alt.Axis(format="~s", tickCount=min(5, int(counts.max()))),
            ),
            tooltip=[
                alt.Tooltip("documents:Q", format=","),
                alt.Tooltip("from:Q", format=".2f"),
                alt.Tooltip("to:Q", format=".2f"),
            ],
        )
    )
    return _figure(
        chart,
        f"Held-out documents by bits per character: half of them lie between {lower:.2f} and "
        f"{upper:.2f}. The outermost bars also hold what lies far beyond.",
        height=180,
    )


def series(index: int) -> str:
    """Return the name of the `index`-th model's colour, from 0: a class of the style sheet."""
    return f"series-{index % SERIES_COLORS}"


def _color(rows: Sequence[Mapping[str, Any]]) -> alt.Color:
    """Give each name its colour, in the order in which the rows bring them."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    colors = [f"var(--{series(index)})" for index in range(len(names))]
    return alt.Color("name:N", title=None, scale=alt.Scale(domain=names, range=colors))


def _pointed_at(*fields: str) -> alt.Parameter:
    return alt.selection_point(on="pointerover", clear="pointerout", fields=list(fields))


def _discs(points: alt.Chart, pointed_at: alt.Parameter, *tooltip: alt.Tooltip) -> Any:
    """Return wide discs to point at: Vega-Lite 6.1 loses the names in tooltips of `nearest`."""
    opacity = alt.condition(pointed_at, alt.value(0.35), alt.value(0), empty=False)
    discs = points.mark_circle(size=500).encode(opacity=opacity, tooltip=list(tooltip))
    return discs.add_params(pointed_at)


def _figure(chart: alt.TopLevelMixin, description: str, height: int) -> Figure:
    specification = chart.to_dict()
    specification |= {
        "description": description,
        "height": height,
        "background": None,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": {
            "font": "system-ui, sans-serif",
            "view": {"stroke": None},
            "axis": {
                "labelColor": "var(--muted)",
                "titleColor": "var(--muted)",
                "gridColor": "var(--line)",
                "domain": False,
                "ticks": False,
                "labelPadding": 6,
                "labelFontSize": 12,
                "titleFontSize": 12,
                "titleFontWeight": "normal",
            },
            "axisX": {"grid": False, "labelFlush": True, "labelOverlap": "greedy"}
            | {"labelSeparation": 8, "titlePadding": 10},
            "axisY": {"titleAlign": "left", "titleAngle": 0, "titleAnchor": "start"}
            | {"titleX": 0, "titleY": -12, "titleBaseline": "bottom"},
            "legend": {
                "orient": "top",
                "offset": 32,
                "labelColor": "var(--ink)",
                "labelFontSize": 13,
                "columnPadding": 18,
                "symbolType": "stroke",
                "symbolOpacity": 1,
                "symbolSize": 300,
                "symbolStrokeWidth": 2.5,
                "symbolStrokeColor": "var(--muted)",
            },
        },
    }
    picture = vl_convert.vegalite_to_svg(specification | {"width": 720}, vl_version=VEGA_LITE)
    return Figure(specification | {"width": "container"}, Markup(picture))
