"""A board as Grafana's JSON, by Grafana's own SDK."""

import json
from typing import Any

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models

from monitoring.panels import LINES_HEIGHT, STAT_HEIGHT, Board, Panel

UID_PREFIX = "sentigraph-"
TAG = "sentigraph"
_SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_COLUMNS = 24


def content(board: Board) -> str:
    """The JSON text of a board; equal boards give equal texts."""
    made = (
        build.Dashboard(board.title)
        .uid(f"{UID_PREFIX}{board.name}")
        .description(board.description)
        .tags([TAG])
        .editable()
        .refresh("30s")
        .time("now-1h", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(_others())
        .with_variable(
            build.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
        .with_variable(_choice("namespace", "Namespace", "sentiment_model_loaded"))
    )
    if board.deployment_of:
        made.with_variable(_choice("deployment", "Deployment", board.deployment_of))
    place = _Places()
    for panel in board.numbers:
        made.with_panel(_panel(panel, place))
    for row in board.rows:
        place.next_line()
        heading = build.Row(row.title).id(place.take_id()).grid_pos(place.take(_COLUMNS, 1))
        made.with_row(heading)
        for panel in row.panels:
            made.with_panel(_panel(panel, place))
    plain = json.loads(JSONEncoder(sort_keys=True).encode(made.build()))
    return json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


class _Places:
    """Where the next panel goes: from left to right, then a new line."""

    def __init__(self) -> None:
        self._x = self._y = self._height = self._id = 0

    def take_id(self) -> int:
        self._id += 1
        return self._id

    def take(self, width: int, height: int) -> models.GridPos:
        if self._x + width > _COLUMNS:
            self.next_line()
        place = models.GridPos(x=self._x, y=self._y, w=width, h=height)
        self._x += width
        self._height = max(self._height, height)
        return place

    def next_line(self) -> None:
        if self._height:
            self._x, self._y, self._height = 0, self._y + self._height, 0


def _others() -> build.DashboardLink:
    return (
        build.DashboardLink("sentigraph")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


def _choice(label: str, title: str, series: str) -> build.QueryVariable:
    # A scrape without Kubernetes has no namespace: "all" must match the absent label too.
    return (
        build.QueryVariable(label)
        .label(title)
        .datasource(_SOURCE)
        .query(f"label_values({series}, {label})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(text="All", value="$__all"))
    )


def _panel(panel: Panel, place: _Places) -> stat.Panel | timeseries.Panel:
    made = _stat() if panel.is_stat else _lines(panel)
    height = STAT_HEIGHT if panel.is_stat else LINES_HEIGHT
    (
        made.id(place.take_id())
        .title(panel.title)
        .description(panel.description)
        .datasource(_SOURCE)
        .grid_pos(place.take(panel.width, height))
        .unit(panel.unit)
        .min(0)
    )
    if panel.maximum is not None:
        made.max(panel.maximum)
    if panel.limits or panel.is_stat:
        made.thresholds(_thresholds(panel))
    for index, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend)
        target = target.ref_id(chr(ord("A") + index)).datasource(_SOURCE)
        made.with_target(target.instant() if panel.is_stat else target.range())
    return made


def _stat() -> stat.Panel:
    return (
        stat.Panel()
        .color_mode(looks.BigValueColorMode.BACKGROUND)
        .graph_mode(looks.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("no data")
    )


def _lines(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(40 if panel.stacked else 8)
        .show_points(looks.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(looks.LegendDisplayMode.TABLE)
            .placement(looks.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI))
    )
    if panel.stacked:
        made.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
    if panel.limits:
        dashed = common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED)
        made.thresholds_style(dashed)
    return made


def _thresholds(panel: Panel) -> build.ThresholdsConfig:
    colours = ["green", "orange", "red"] if len(panel.limits) == 2 else ["green", "red"]
    if panel.low_is_bad:
        colours.reverse()
    steps: list[Any] = [models.Threshold(value=None, color=colours[0] if panel.limits else "blue")]
    steps += [
        models.Threshold(value=limit, color=colour)
        for limit, colour in zip(panel.limits, colours[1:], strict=False)
    ]
    return build.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
