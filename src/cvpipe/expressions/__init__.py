"""Conditions as people write them: `label in ["car", "truck"] and score > 0.5`. Read, checked, never executed as code.

A grammar of a page, of which nothing but comparisons can be said: no calls, no attributes, no loops. Whoever writes one
may be a stranger: length, depth and size are bounded, evaluating takes a time proportional to the size of the text and
of the values, and never raises.
"""

from cvpipe.expressions.parser import MAX_DEPTH, MAX_LENGTH, MAX_PARTS, Expression, parse_expression
from cvpipe.expressions.syntax import OBJECTS, Constant, Kind, Lookup, Name, Node, Path, Within

__all__ = [
    "MAX_DEPTH", "MAX_LENGTH", "MAX_PARTS", "OBJECTS", "Constant", "Expression", "Kind", "Lookup", "Name", "Node",
    "Path", "Within", "parse_expression",
]  # fmt: skip
