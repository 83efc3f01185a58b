"""Lists the variables of traced functions in an order that depends on the code only.

TensorFlow keeps the variables that a function uses in a set, ordered by their addresses in memory. Keras's `export`
saves them in that order. So equal models had other bytes in each process, and Evaluator judged them again. This is the
only module of Trainer that uses private parts of TensorFlow.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from tensorflow.python.framework.func_graph import FuncGraph


@functools.cache
def order_variables() -> None:
    """From now on, list the variables of each function that this process traces in the order of their first use."""
    variables = FuncGraph.variables

    def assign(graph: Any, found: Iterable[Any]) -> None:
        places = {id(tensor): place for place, tensor in enumerate(graph.external_captures)}
        variables.fset(graph, sorted(found, key=lambda one: places.get(_handle(one), len(places))))

    FuncGraph.variables = property(variables.fget, assign, doc=variables.__doc__)


def _handle(variable: Any) -> int:
    """Return the identity of a variable's handle, or of a variable that is distributed over devices."""
    try:
        return id(variable.handle)
    except (AttributeError, ValueError):
        return id(variable)
