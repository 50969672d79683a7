"""A graph of operations as a picture: boxes in the order in which they run, lines for what flows.

Taken for granted by 20_onnx, which explains what a node and its edges are.
"""

import re
from typing import TYPE_CHECKING, Any

from utils import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Light enough for black letters; they differ in lightness too, and each box has its name.
KINDS = {
    "multiplies": ("#F0B67F", ("Conv", "ConvTranspose", "Gemm", "MatMul", "FusedConv")),
    "element by element": ("#BFE3D0", ("Add", "Mul", "Relu", "Tanh", "Sigmoid", "Softmax")),
    "to or from 8 bits": ("#8FB7DD", ("QuantizeLinear", "DequantizeLinear")),
    "the runtime's own": ("#E8C9E0", ()),
    "moves, sums, the rest": ("#EDEDED", ()),
}


def kind(node: Any) -> str:
    """Which of `KINDS` a node of an ONNX graph belongs to."""
    if node.domain.startswith("com.microsoft"):
        return "the runtime's own"
    found = (name for name, (_, types) in KINDS.items() if node.op_type in types)
    return next(found, "moves, sums, the rest")


def _name(node: Any) -> str:
    """The operator, in two lines where it is long: ReduceMean → Reduce, Mean."""
    name = node.op_type
    if len(name) < 10:
        return name
    middle = re.search(r"(?<=[a-z])[A-Z][a-z]+$", name)
    return f"{name[: middle.start()]}\n{middle.group()}" if middle else name


def draw(graph: Any, columns: int = 20, title: str = "", width: float = 8.6) -> "Figure":
    """The nodes of an ONNX graph, row by row in the order in which they run.

    Parameters
    ----------
    graph
        An ``onnx.GraphProto``.
    columns
        Nodes in a row.
    title
        What it says above.
    width
        Inches.
    """
    from matplotlib.patches import FancyArrowPatch, Rectangle

    nodes = list(graph.node)
    rows = -(-len(nodes) // columns)
    fig, ax = plots.figure(width=width, height=0.4 + 1.15 * rows)
    made = {name: i for i, node in enumerate(nodes) for name in node.output}

    def place(i: int) -> tuple[float, float]:
        return i % columns, -1.45 * (i // columns)

    for i, node in enumerate(nodes):
        x, y = place(i)
        colour = KINDS[kind(node)][0]
        ax.add_patch(Rectangle((x - 0.34, y - 0.5), 0.68, 1, facecolor=colour, edgecolor="#444444"))
        ax.text(x, y, _name(node), rotation=90, ha="center", va="center", fontsize=8)
        for origin in sorted({made[name] for name in node.input if name in made}):
            (left, top), near = place(origin), i - origin == 1
            same, style = top == y, {"arrowstyle": "-", "color": "#444444", "linewidth": 1}
            if same and near:
                ax.add_patch(FancyArrowPatch((left + 0.34, y), (x - 0.34, y), **style))
            elif same:  # around the nodes between
                ends = ((left + 0.1, y + 0.5), (x - 0.1, y + 0.5))
                bend = f"arc3,rad={-0.28 * (3 / (i - origin)) ** 0.5}"
                ax.add_patch(FancyArrowPatch(*ends, connectionstyle=bend, **style))
            else:
                ends = ((left, top - 0.5), (x, y + 0.5))
                ax.add_patch(FancyArrowPatch(*ends, linestyle=":", **style))
    ax.set(xlim=(-0.6, columns - 0.4), ylim=(-1.45 * (rows - 1) - 0.6, 0.95))
    ax.set_axis_off()
    ax.set_title(title, fontsize=10, loc="left")
    return fig


def legend(fig: "Figure") -> "Figure":
    """Name the colours below a drawing."""
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=c, edgecolor="#444444", label=n) for n, (c, _) in KINDS.items()]
    fig.legend(handles=patches, loc="lower center", ncols=len(patches), frameon=False, fontsize=8)
    bottom = 0.28 / fig.get_figheight()
    fig.get_layout_engine().set(rect=(0, bottom, 1, 1 - bottom))
    return fig
