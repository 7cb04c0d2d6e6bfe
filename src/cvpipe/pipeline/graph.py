"""A pipeline as a graph: what runs where, and which stage looks at what another has found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from cvpipe.expressions.rules import LINE, ZONE
from cvpipe.expressions.syntax import Name
from cvpipe.pipeline.plan import Segment, plan_segments
from cvpipe.pipeline.spec import PipelineSpec
from cvpipe.stages import JobStage, Stage

_WIDTH: Final = 360
_ROW: Final = 38
_TITLE: Final = 30
_LEFT: Final = 24
_LANE: Final = 14
_TASKS: Final = {
    "frames": "frames: a task for each chunk",
    "sequence": "sequence: chunk after chunk",
    "picks": "picks: the best of each track",
    "crops": "crops: a task for each chunk that has some",
    "tracks": "tracks: the vote",
    "external": "calls outside",
}
_NAMING: Final = ("of", "appearance", "camera_motion", "colours")  # options that name other stages
_SHAPES: Final = {ZONE: "zones", LINE: "lines"}


@dataclass(frozen=True, slots=True)
class Node:
    """A stage. sources: names of the stages whose objects, values, cuts, zones or lines it looks at."""

    name: str
    type: str
    models: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Stages that run together. queue: of their tasks; empty where the decoder does it."""

    title: str
    queue: str
    nodes: tuple[Node, ...]


def groups_of(spec: PipelineSpec) -> list[Group]:
    """The stages of a pipeline by where they run, each once, in the order of the work."""
    made = spec.make_stages()
    earlier: dict[str, Stage[Any]] = {}
    nodes = []
    for stage in made:
        sources = tuple(dict.fromkeys(name for name in _named(stage, earlier) if name in earlier))
        nodes.append(Node(stage.name, stage.kind(), tuple(stage.models()), sources))
        earlier[stage.name] = stage
    left = set(range(len(made)))

    def taken(segment: Segment) -> tuple[Node, ...]:
        mine = [number for number in segment.stages if number in left]
        left.difference_update(mine)
        return tuple(nodes[number] for number in mine)

    segments = [(segment, taken(segment)) for segment in plan_segments(spec)]
    files = [number for number in sorted(left) if isinstance(made[number], JobStage)]
    decoded = [number for number in sorted(left) if number not in files]
    groups = [Group("the decoder: which frames, and how they are seen", "", tuple(nodes[n] for n in decoded))]
    groups += [Group(_TASKS[segment.kind], segment.queue, mine) for segment, mine in segments]
    if files:
        groups.append(Group("files of the whole video", "finish", tuple(nodes[n] for n in files)))
    return [group for group in groups if group.nodes]


def _named(stage: Stage[Any], earlier: Mapping[str, Stage[Any]]) -> Iterator[str]:
    """What a stage names in its options, conditions and rules: other stages, or what is none."""
    yield from (*stage.references(), *stage.boundaries())
    for option in _NAMING:
        value = getattr(stage.options, option, None)
        yield from (value,) if isinstance(value, str) else value if isinstance(value, list | tuple) else ()
    for _, expression in stage.expressions():
        yield from expression.stages()
        for node in expression.root.walk():
            if isinstance(node, Name) and (shapes := _SHAPES.get(node.path[0])) is not None:
                for name, other in earlier.items():
                    if any(shape.name == node.path[1] for shape in getattr(other.options, shapes, ())):
                        yield name


def as_text(spec: PipelineSpec) -> str:
    """The graph in lines."""
    lines = [f"{spec.name}, version {spec.version}"]
    for group in groups_of(spec):
        lines.append(f"  {group.title}" + (f" (queue {group.queue})" if group.queue else ""))
        lines += [
            f"    {_words(node)}" + (f"  <- {', '.join(node.sources)}" if node.sources else "") for node in group.nodes
        ]
    return "\n".join(lines)


def as_svg(spec: PipelineSpec) -> str:
    """The graph as an SVG document: groups as frames, stages as boxes, an arrow from each to those that look at it."""
    groups = groups_of(spec)
    parts: list[str] = []
    middle: dict[str, float] = {}
    y = 48.0
    for group in groups:
        height = _TITLE + _ROW * len(group.nodes) + 6
        title = group.title + (f" · queue {group.queue}" if group.queue else "")
        parts.append(_box(8, y, _WIDTH + 2 * _LEFT - 16, height, 'fill="#f3f5f8" stroke="#c9d1dc"'))
        parts.append(_text(_LEFT, y + 20, title, 'fill="#5a6675" font-size="12"'))
        for place, node in enumerate(group.nodes):
            top = y + _TITLE + _ROW * place
            middle[node.name] = top + _ROW / 2 - 4
            parts.append(_box(_LEFT, top, _WIDTH, _ROW - 8, 'fill="#fff" stroke="#3b6ea8"'))
            parts.append(_text(_LEFT + 12, top + 20, _words(node), 'fill="#1d2733" font-size="14"'))
        y += height + 14
    lanes = _lanes(groups)
    right = _LEFT + _WIDTH
    for (source, target), lane in lanes.items():
        start, stop, reach = middle[source], middle[target] - 5, right + 26 + _LANE * lane
        parts.append(
            f'<path d="M {right} {start:g} C {reach} {start:g}, {reach} {stop:g}, {right + 4} {stop:g}" fill="none" '
            'stroke="#c2562d" stroke-width="1.6" marker-end="url(#arrow)"/>'
        )
    width = right + 60 + _LANE * max(lanes.values(), default=0)
    size = f'width="{width}" height="{y:g}" viewBox="0 0 {width} {y:g}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">',
        '<path d="M 0 0 L 8 4 L 0 8 z" fill="#c2562d"/></marker></defs>',
        '<rect width="100%" height="100%" fill="#fff"/>',
        _text(8, 30, f"{spec.name}, version {spec.version}", 'fill="#1d2733" font-size="18"'),
    ]
    return "\n".join([*head, *parts, "</svg>", ""])


def _box(x: float, y: float, width: float, height: float, how: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" {how}/>'


def _text(x: float, y: float, words: str, how: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" {how}>{escape(words)}</text>'


def _lanes(groups: list[Group]) -> dict[tuple[str, str], int]:
    """How far out each arrow goes, so that none lies on another: the longer the farther."""
    place = {node.name: number for number, node in enumerate(node for group in groups for node in group.nodes)}
    arrows = [(source, node.name) for group in groups for node in group.nodes for source in node.sources]
    arrows.sort(key=lambda arrow: (abs(place[arrow[1]] - place[arrow[0]]), place[arrow[0]]))
    return {arrow: number for number, arrow in enumerate(arrows)}


def _words(node: Node) -> str:
    words = node.name if node.name == node.type else f"{node.name}: {node.type}"
    return f"{words} ({', '.join(node.models)})" if node.models else words
