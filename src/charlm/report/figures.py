"""The charts of the report, drawn by Vega-Lite as static SVG.

Colours are CSS variables of the page, so that one chart serves the light and the dark page. The
page shows the label of the mark under the pointer; see `templates/charts.js`.
"""

import math
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias, TypedDict

import altair as alt
import numpy as np
import numpy.typing as npt
import vl_convert
from markupsafe import Markup

from charlm.errors import CharlmError

VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
WIDTHS = (720, 340)
"""Widths of a chart in a wide and in a narrow window, in pixels."""

SERIES_COLORS = 8
"""Number of colours for models in the page's style sheet, `--series-0` and so on."""

ADDRESS_SPACE = 66 << 30
"""Bytes of address space, of which little is used, without which the renderer ends the process."""

STYLE = {
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
    "axisX": {
        "grid": False,
        "labelFlush": True,
        "labelOverlap": "greedy",
        "labelSeparation": 8,
        "titlePadding": 10,
    },
    "axisY": {
        "titleAlign": "left",
        "titleAngle": 0,
        "titleAnchor": "start",
        "titleX": 0,
        "titleY": -12,
        "titleBaseline": "bottom",
    },
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
}
"""The look of all charts, in terms of the Vega-Lite configuration."""


@dataclass(frozen=True)
class Figure:
    """A chart."""

    description: str
    wide: Markup
    """An SVG element."""
    narrow: Markup
    """The same chart for a narrow window."""


class CurvePoint(TypedDict):
    """A point of a learning curve."""

    name: str
    """The model's name, which decides the colour."""
    text: str
    """`training` or `validation`."""
    step: int
    characters: int
    bits: float
    """Bits per character, the mean over the seeds."""
    low: float
    """The minimum over the seeds."""
    high: float
    """The maximum over the seeds."""


PositionPoint = TypedDict("PositionPoint", {"name": str, "from": int, "to": int, "bits": float})
"""A model's bits per symbol at positions in the documents; `to` is excluded."""


class ReliabilityPoint(TypedDict):
    """A model's accuracy in predictions of similar confidence."""

    name: str
    symbols: int
    confidence: float
    accuracy: float


Row: TypeAlias = CurvePoint | PositionPoint | ReliabilityPoint


def learning_curves(rows: Sequence[CurvePoint], baselines: Mapping[str, float]) -> Figure:
    """Draw bits per character against the characters read in training.

    Args:
        rows: The points. Those above all validation scores are left out, since the differences at
            the end are small.
        baselines: Bits per character of baselines by name, drawn as horizontal lines.
    """
    shown = [row["high"] for row in rows if row["text"] == "validation"] or [
        row["high"] for row in rows
    ]
    highest = max([*shown, *baselines.values()], default=1.0)
    lowest = min([*(row["low"] for row in rows), *baselines.values()], default=0.0)
    margin = 0.05 * (highest - lowest)
    rows = [row for row in rows if row["high"] <= highest + margin]
    labels = [
        f"{row['name']}, {row['text']}, step {row['step']:,} ({row['characters']:,} characters "
        f"read): {row['bits']:.3f} bits per character"
        for row in rows
    ]
    points = _points(rows, labels).encode(
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
    return _figure(
        alt.layer(
            *_baseline_rules(baselines, gap=margin),
            band,
            lines,
            *_discs(points),
        ),
        "Learning curves: bits per character of the training and validation text against the "
        "characters read. The table below has the same numbers.",
        height=320,
    )


def _baseline_rules(baselines: Mapping[str, float], gap: float) -> tuple[alt.Chart, alt.Chart]:
    """Return a horizontal line for each baseline, and labels at least `gap` apart."""
    values, place = [], -math.inf
    for name, bits in sorted(baselines.items(), key=lambda each: each[1]):
        place = max(bits, place + gap)
        values.append({"baseline": name, "bits": bits, "place": round(place, 6)})
    rules = alt.Chart(alt.InlineData(values=values)).encode(
        y="bits:Q", color=alt.value("var(--muted)")
    )
    labels = rules.mark_text(align="left", dx=6, fontSize=12).encode(
        x=alt.value("width"), y="place:Q", text="baseline:N"
    )
    return rules.mark_rule(strokeDash=[6, 3]), labels


def loss_by_position(rows: Sequence[PositionPoint]) -> Figure:
    """Draw bits per symbol against the position in the document."""
    labels = [
        f"{row['name']}, symbols {row['from']:,} to {row['to'] - 1:,}: "
        f"{row['bits']:.3f} bits per symbol"
        for row in rows
    ]
    points = _points(rows, labels).encode(
        x=alt.X(
            "to:Q",
            title="position in the document, in symbols",
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
    return _figure(
        alt.layer(points.mark_line(strokeWidth=2), *_discs(points)),
        "Bits per symbol by position in the document, on logarithmic scales. The curve falls as "
        "long as more context helps the model.",
        height=240,
    )


def reliability(rows: Sequence[ReliabilityPoint]) -> Figure:
    """Draw a reliability diagram: accuracy against confidence."""
    percent = alt.Axis(format="%", tickCount=5)
    whole = alt.Scale(domain=[0, 1])
    labels = [
        f"{row['name']}, confidence {row['confidence']:.1%}: right in {row['accuracy']:.1%} of "
        f"{row['symbols']:,} symbols"
        for row in rows
    ]
    points = _points(rows, labels).encode(
        x=alt.X("confidence:Q", title="confidence", axis=percent, scale=whole),
        y=alt.Y("accuracy:Q", title="accuracy", axis=percent, scale=whole),
        color=_color(rows),
    )
    diagonal = (
        alt.Chart(alt.InlineData(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
        .mark_line(strokeDash=[6, 3], strokeWidth=1)
        .encode(x="x:Q", y="y:Q", color=alt.value("var(--muted)"))
    )
    return _figure(
        alt.layer(diagonal, points.mark_line(strokeWidth=2), *_discs(points)),
        "Calibration: how often the likeliest symbol was right (accuracy), by the probability that "
        "the model gave it (confidence). A calibrated model lies on the dashed line.",
        height=240,
    )


def _two_places(number: float) -> str:
    """Return a rounded number; zero without a sign."""
    return f"{round(float(number), 2) + 0.0:.2f}"


def document_histogram(bits: npt.NDArray[np.float64], color: str) -> Figure:
    """Draw a histogram of the documents' bits per character.

    The outermost bars include the documents that are farther than three times the interquartile
    range from the quartiles (Tukey's outer fences).

    Args:
        bits: Bits per character of each document, shape (documents,).
        color: The name of the model's colour; see `series`.
    """
    lower, upper = np.quantile(bits, [0.25, 0.75])
    fences = 3 * (upper - lower) * np.array([-1, 1]) + [lower, upper]
    counts, edges = np.histogram(np.clip(bits, *fences), bins=40)
    values = [
        {
            "from": round(float(start), 4),
            "to": round(float(stop), 4),
            "documents": int(count),
            "label": f"{_two_places(start)} to {_two_places(stop)} bits per character: "
            f"{count:,} documents",
        }
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
            description="label:N",
        )
    )
    return _figure(
        chart,
        f"Held-out documents by bits per character. Half of them lie between {lower:.2f} and "
        f"{upper:.2f}; the outermost bars include outliers.",
        height=180,
    )


def series(index: int) -> str:
    """Return the name of a model's colour, a class of the style sheet; indices start at 0."""
    return f"series-{index % SERIES_COLORS}"


def _color(rows: Sequence[Row]) -> alt.Color:
    """Give each name its colour, in the order of the rows."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    colors = [f"var(--{series(index)})" for index in range(len(names))]
    return alt.Color("name:N", title=None, scale=alt.Scale(domain=names, range=colors))


def _points(rows: Sequence[Row], labels: Sequence[str]) -> alt.Chart:
    """Return a chart of rows, each with a label."""
    values = [{**row, "label": label} for row, label in zip(rows, labels, strict=True)]
    return alt.Chart(alt.InlineData(values=values))


def _discs(points: alt.Chart) -> tuple[alt.Chart, alt.Chart]:
    """Return small discs, and large invisible ones with the labels, easier to point at."""
    return (
        points.mark_circle(size=18, opacity=1),
        points.mark_circle(size=400, opacity=0).encode(description="label:N"),
    )


def _figure(chart: alt.TopLevelMixin, description: str, height: int) -> Figure:
    specification = chart.to_dict() | {
        "height": height,
        "background": None,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": STYLE,
    }
    _check_address_space()
    wide, narrow = (
        Markup(vl_convert.vegalite_to_svg(specification | {"width": width}, vl_version=VEGA_LITE))
        for width in WIDTHS
    )
    return Figure(description, wide, narrow)


def _check_address_space() -> None:
    """Check that the renderer can start.

    Raises:
        CharlmError: `ulimit -v` leaves it too little address space.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < ADDRESS_SPACE:
        raise CharlmError(
            f"the charts cannot be drawn with `ulimit -v {limit >> 10}`; run "
            "`ulimit -v unlimited` first, or limit the memory with a cgroup"
        )
