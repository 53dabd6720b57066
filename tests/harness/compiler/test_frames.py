"""Images that lie amid their padding: which do, and that every operator writes them there and reads them from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler.choice import COSTS, Costs
from harness.compiler.emit import emitted
from harness.compiler.expression import Input, apply
from harness.compiler.frames import NO_FRAME, Frame, frames_of
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Operator, Type
from harness.compiler.operators import Concat, Conv, Dense, Map, Pad, Pool, Requantize, Reshape, Slice, Transpose, Window

Array = npt.NDArray[Any]
SHAPE = (2, 5, 6, 20)
"""Of every image before it is padded: two in a batch, channels of one block and a bit."""
X = {"x": Type("float32", SHAPE)}
EXP = Map(apply("exp", Input(0)), SHAPE)
ONE, THREE = Window((1, 1)), Window((3, 3))
FUNCTIONS = (
    "gcc",
    "-O1",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-DHK_INLINE=static __attribute__((unused))",
)
QUIET = ("-Wno-unused-function",)


def pad(top: int, left: int, bottom: int, right: int, value: float = 0.0) -> Pad:
    return Pad((0, top, left, 0), (0, bottom, right, 0), value)


def graph_of(*nodes: tuple[Operator, str, str], outputs: tuple[str, ...] = ("y",)) -> Graph:
    return Graph.of(X, outputs, [Node(op, tuple(given.split()), made, made) for op, given, made in nodes], {})


def test_a_frame_has_room_for_all_paddings_of_an_image() -> None:
    pools = [(Pool("max", THREE), "p", "u"), (Pool("max", THREE), "q", "v")]
    found = frames_of(
        graph_of((EXP, "x", "a"), (pad(1, 1, 1, 1), "a", "p"), (pad(2, 0, 1, 3), "a", "q"), *pools, outputs=("u", "v"))
    )
    assert found == {"a": Frame(2, 1, 1, 3), "p": Frame(1, 0, 0, 2), "q": Frame(0, 1, 0, 0)}
    assert found["a"].around(SHAPE) == (2, 8, 10, 20) and found["a"].begins(SHAPE) == (2 * 10 + 1) * 20
    assert NO_FRAME.around((3, 4)) == (3, 4) and NO_FRAME.begins((3, 4)) == 0


@pytest.mark.parametrize(
    "nodes",
    [
        [(pad(1, 1, 1, 1), "x", "p"), (Pool("max", THREE), "p", "y")],  # the caller's memory has no room
        [(EXP, "x", "a"), (pad(1, 1, 1, 1), "a", "y")],  # nor has the caller's for results
        [(EXP, "x", "a"), (pad(1, 1, 1, 1), "a", "p"), (Reshape((2, 600)), "a", "r"), (Reshape((2, 1120)), "p", "s"), (Concat(1), "r s", "y")],
        [(EXP, "x", "a"), (pad(1, 1, 1, 1), "a", "p"), (pad(1, 1, 1, 1, 1.0), "a", "q"), (Concat(1), "p q", "y")],  # one border, two values
        [(EXP, "x", "a"), (pad(1, 1, 1, 1, 1.5), "a", "p"), (Pool("max", THREE), "p", "y")],  # a value whose bytes differ
        [(EXP, "x", "a"), (Pad((0, 1, 0, 1), (0, 0, 0, 0), 0.0), "a", "p"), (Pool("max", THREE), "p", "y")],  # channels too
        [(EXP, "x", "a"), (pad(1, 1, 1, 1), "a", "p"), (pad(1, 0, 0, 0), "p", "q"), (Pool("max", THREE), "q", "y"), (pad(2, 2, 2, 2), "a", "r"),
         (Pool("max", THREE), "r", "z"), (Reshape((2, 1120)), "p", "w")],  # what is padded has a frame too, and is read by whom cannot
    ],
)  # fmt: skip
def test_where_there_is_no_room_padding_stays_a_copy(nodes: list[tuple[Operator, str, str]]) -> None:
    made = [name for _, _, name in nodes]
    assert not frames_of(graph_of(*nodes, outputs=tuple(name for name in ("y", "z", "w") if name in made)))


class Drawing:
    """A graph of images SHAPE while it is made."""

    def __init__(self, *, is_integer: bool) -> None:
        self.rng, self.is_integer = np.random.default_rng(0), is_integer
        self.dtype = "uint8" if is_integer else "float32"
        self.inputs: dict[str, Type] = {"x": Type(self.dtype, SHAPE)}
        self.constants: dict[str, Array] = {}
        self.nodes: list[Node] = []

    def add(self, op: Operator, *inputs: str) -> str:
        self.nodes.append(Node(op, inputs, f"t{len(self.nodes)}", f"n{len(self.nodes)}"))
        return self.nodes[-1].output

    def conv(self, x: str, window: Window, groups: int = 1, *more: str, seldom: bool = False) -> str:
        c = SHAPE[3]
        number, shape = len(self.nodes), (*window.kernel, c // groups, c)
        kept = self.rng.random((*window.kernel, c)) < (0.3 if seldom else 1)  # of each place, four neighbouring channels alike
        weights = self.rng.uniform(-1, 1, shape) * kept[:, :, np.arange(shape[2]) // 4, None]
        if not self.is_integer:
            values: list[Array] = [weights.astype(np.float32), self.rng.uniform(-1, 1, c).astype(np.float32)]
            op = Conv(window, groups)
        else:
            values = [
                (weights * 127).astype(np.int8),
                self.rng.integers(-999, 999, c).astype(np.int32),
                np.full(c, 2e-3, np.float32),
            ]
            op = Conv(window, groups, requantize=Requantize(7, 9, "uint8", 0, 255))
        names = [f"{part}{number}" for part in "wbm"[: len(values)]]
        self.constants |= dict(zip(names, values, strict=True))
        return self.add(op, x, *names, *more)

    def map(self, *given: str) -> str:
        return self.add(Map(apply("max" if len(given) > 1 else "min", Input(0), Input(len(given) - 1)), SHAPE), *given)

    def writers(self) -> list[Callable[[], str]]:
        """Each makes an image that may be written into a frame."""
        made = [
            lambda: self.conv("x", ONE),
            lambda: self.conv(self.add(pad(1, 1, 1, 1, self.zero), "x"), THREE),
            lambda: self.conv("x", ONE, seldom=True),
            lambda: self.conv(self.add(pad(1, 1, 1, 1, self.zero), "x"), THREE, SHAPE[3]),
            lambda: self.add(Pool("max", Window((3, 3), pads=(1, 1, 1, 1))), "x"),
            lambda: self.map("x"),
            lambda: self.add(Concat(3), self.half(0), self.half(10)),
            lambda: self.add(Transpose((0, 2, 1, 3)), self.add(Transpose((0, 2, 1, 3)), "x")),
            lambda: self.add(Slice((0, 0, 0, 0), SHAPE, (1, 1, 1, 1)), "x"),
        ]
        mean = [lambda: self.add(Pool("mean", Window((3, 3), pads=(1, 1, 1, 1))), "x"), lambda: self.conv("x", ONE, 2)]
        return made if self.is_integer else made + mean

    def half(self, start: int) -> str:
        return self.add(Slice((0, 0, 0, start), (*SHAPE[:3], 10), (1, 1, 1, 1)), "x")

    def readers(self, image: str) -> list[Callable[[], str]]:
        """Each reads it from within a frame."""
        seen = [
            lambda: self.conv(image, ONE),
            lambda: self.conv(image, Window((2, 2), (2, 2)), seldom=True),
            lambda: self.conv(image, Window((2, 2)), SHAPE[3]),
            lambda: self.add(Pool("max", THREE), image),
            lambda: self.map(image, "x"),
            lambda: self.add(Concat(1), image, "x"),
            lambda: self.add(Transpose((0, 3, 1, 2)), image),
            lambda: self.add(Slice((0, 1, 2, 3), (2, 2, 2, 8), (1, 2, 2, 2)), image),
        ]
        floats = [lambda: self.conv("x", ONE, 1, image), lambda: self.add(Pool("mean", THREE), image)]
        return seen if self.is_integer else seen + floats

    @property
    def zero(self) -> float:
        return 7.0 if self.is_integer else 0.0


@pytest.mark.toolchain
@pytest.mark.parametrize(("is_integer", "lists"), [(False, False), (False, True), (True, True)], ids=["dense", "lists", "int8"])
def test_all_write_into_frames_and_read_from_them(
    run_c: Callable[..., list[Array]],
    same: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_integer: bool,
    lists: bool,
) -> None:
    for dtype in COSTS:
        monkeypatch.setitem(COSTS, dtype, Costs(0, 0) if lists else Costs(1e9, 1e9))
    drawing, outputs, framed = Drawing(is_integer=is_integer), list[str](), list[str]()
    for number, writer in enumerate(drawing.writers()):
        framed.append(writer())
        outputs.append(drawing.conv(drawing.add(pad(1, 1, 1, 1, drawing.zero), framed[-1]), THREE, seldom=number % 2 == 0))
        wide = drawing.add(pad(2, 0, 0, 1, drawing.zero), framed[-1])
        readers = drawing.readers(framed[-1])
        outputs += [drawing.add(Pool("max", THREE), wide), *(readers[(number + more) % len(readers)]() for more in (0, 5))]
    graph = Graph.of(drawing.inputs, outputs, drawing.nodes, drawing.constants)
    frames = frames_of(graph)
    assert {frames[name] for name in framed} == {Frame(2, 1, 1, 1)}
    kernels = emitted(graph).facts["kernels"]
    assert kernels["hk_border"] == 2 * len(framed) and kernels["hk_pad"] == 2  # the caller's image is copied
    assert any("list" in name for name in kernels) == lists
    given = {
        "x": drawing.rng.integers(0, 256, SHAPE).astype(np.uint8)
        if is_integer
        else drawing.rng.standard_normal(SHAPE, np.float32)
    }
    answers = run_c(graph, given, (*FUNCTIONS, *QUIET))
    for (name, wanted), found in zip(interpret(graph, given).items(), answers, strict=True):
        same(found, wanted, name, 0 if is_integer else 1e-5)


@pytest.mark.toolchain
def test_a_residual_may_lie_in_another_frame_than_what_it_is_added_to(
    run_c: Callable[..., list[Array]], same: Callable[..., None]
) -> None:
    """The results may take its place only where both have the same."""
    for wide in (1, 2):
        drawing = Drawing(is_integer=False)
        first = drawing.map("x")
        again = drawing.conv(drawing.add(pad(1, 1, 1, 1), first), THREE, 1, first)
        last = drawing.conv(drawing.add(pad(wide, wide, wide, wide), again), Window((2 * wide + 1, 2 * wide + 1)), 1, again)
        graph = Graph.of(drawing.inputs, [last], drawing.nodes, drawing.constants)
        assert (frames_of(graph)[first] == frames_of(graph)[again]) == (wide == 1)
        given = {"x": drawing.rng.standard_normal(SHAPE, np.float32)}
        same(run_c(graph, given, (*FUNCTIONS, *QUIET))[0], interpret(graph, given)[last], str(wide), 1e-5)


@pytest.mark.toolchain
def test_what_is_padded_again_is_copied(run_c: Callable[..., list[Array]], same: Callable[..., None]) -> None:
    """The first padding is made in place; there is no room in it for the second's."""
    drawing = Drawing(is_integer=False)
    once = drawing.add(pad(1, 1, 1, 1), drawing.map("x"))
    twice = drawing.add(Pool("max", THREE), drawing.add(pad(1, 0, 0, 2), once))
    graph = Graph.of(drawing.inputs, [twice], drawing.nodes, drawing.constants)
    kernels = emitted(graph).facts["kernels"]
    assert kernels["hk_border"] == 1 and kernels["hk_pad"] == 1
    given = {"x": drawing.rng.standard_normal(SHAPE, np.float32)}
    same(run_c(graph, given, (*FUNCTIONS, *QUIET))[0], interpret(graph, given)[twice], "twice", 1e-5)


def test_what_is_not_an_image_has_no_frame() -> None:
    graph = Graph.of({"x": Type("float32", (3, 4))}, ["y"], [Node(Dense(), ("x", "w", "b"), "a", ""), Node(Pad((0, 1), (0, 1), 0.0), ("a",), "y", "")],
                     {"w": np.ones((4, 2), np.float32), "b": np.ones(2, np.float32)})  # fmt: skip
    assert not frames_of(graph)
