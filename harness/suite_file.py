"""Suites, loaded strictly from YAML: what does not resolve is refused with its file, line and nearest name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import plugins
from harness.errors import UserError, nearest
from harness.models import FileModel
from harness.paper import PaperReader
from harness.plugins import Choice, matches
from harness.suite import Condition, Gate, OperatingPoint, Sampling, Suite, Workload, as_label
from harness.weights import PACKAGED, weights_file
from results.paper import CELL_AXES as AXES
from results.paper import POINT_AXES
from targets.document import Document, Place, Reader, read_document
from targets.target import Target

STEPS = "steps"
"""For `frequency_hz`: a point at each step of the inventory."""
_KEYS = (
    "name", "about", "extends", "models", "methods", "backends", "targets", "operating_points", "sampling", "baseline",
    "include", "exclude", "tables", "figures", "gates", "seed",
)  # fmt: skip
_REQUIRED = ("models", "methods", "backends")


def load_suite(reference: str, *, known_targets: Mapping[str, Target]) -> Suite:
    """Load and resolve a suite by path, or by name from the ones that ship with Assay.

    UserError with file, line and nearest name for anything that does not resolve.
    """
    document = _extended(find_suite(reference), ())
    return _Reader(document, known_targets).suite()


def shipped_suites() -> tuple[Path, ...]:
    return tuple(sorted((Path(__file__).resolve().parent.parent / "suites").glob("*.yaml")))


def find_suite(reference: str) -> Path:
    path = Path(reference)
    if path.is_file():
        return path
    shipped = {p.stem: p for p in shipped_suites()}
    if reference in shipped:
        return shipped[reference]
    raise UserError(f"no suite `{reference}`: neither a file nor a suite that ships with Assay.{nearest(path.stem, shipped)}")


def _extended(path: Path, seen: tuple[Path, ...]) -> Document:
    """The document with its `extends` chain merged in: a key of the extending suite replaces the base's; `sampling` by key."""
    document = read_document(path)
    if not isinstance(document.value, dict):
        raise UserError(f"{path}: a suite is a mapping with the keys {', '.join(_KEYS)}")
    base_name = document.value.get("extends")
    if base_name is None:
        return document
    where = document.where(("extends",))
    if not isinstance(base_name, str):
        raise UserError(f"{where}: `extends` is the name or path of one suite, not {base_name!r}")
    beside = path.parent / base_name
    base_path = (beside if beside.is_file() else find_suite(base_name)).resolve()
    if base_path in (*seen, path.resolve()):
        raise UserError(f"{where}: `extends` goes round in a circle: {base_path}")
    base = _extended(base_path, (*seen, path.resolve()))
    merged = {key: value for key, value in base.value.items() if key not in ("name", "about")} | document.value
    if isinstance(base.value.get("sampling"), dict) and isinstance(document.value.get("sampling"), dict):
        merged["sampling"] = base.value["sampling"] | document.value["sampling"]
    inherited = {place: where for place, where in base.places.items() if place and place[0] not in document.value}
    return Document(path, merged, inherited | document.places)


class _Reader(Reader):
    """Turns a document into a Suite."""

    def __init__(self, document: Document, known_targets: Mapping[str, Target]) -> None:
        super().__init__(document)
        self.known_targets = known_targets

    def suite(self) -> Suite:
        root = self.document.value
        self.keys(root, (), _KEYS)
        for key in _REQUIRED:
            if not root.get(key):
                raise self.error(
                    (key,), f"`{key}` is missing or empty; a suite needs at least one of each of {', '.join(_REQUIRED)}"
                )
        methods = self._choices("methods")
        backends = self._choices("backends")
        workloads = tuple(self._workloads())
        targets = self._targets()
        points = self._points([self.known_targets[name] for name in targets])
        labels: dict[str, tuple[str, ...]] = {
            "model": tuple(w.label for w in workloads),
            "method": tuple(c.label for c in methods),
            "backend": tuple(c.label for c in backends),
            "target": targets,
            **{axis: tuple(dict.fromkeys(point.labels[axis] for point in points)) for axis in POINT_AXES},
        }
        for axis in ("model", "method", "backend", "target"):
            self._unique(labels[axis], axis)
        paper = PaperReader(self.document, labels)
        return Suite(
            name=self._name(),
            about=self._text("about", ""),
            path=self.document.path,
            workloads=workloads,
            methods=methods,
            backends=backends,
            targets=targets,
            points=points,
            sampling=self.settings(("sampling",), Sampling, self.document.value.get("sampling", {})),
            baseline=self._baseline(labels),
            include=self._conditions("include", labels),
            exclude=self._conditions("exclude", labels),
            tables=paper.tables(),
            figures=paper.figures(),
            gates=self._gates(workloads),
            seed=self._integer("seed", 0, least=0),
        )

    def _choices(self, key: str) -> tuple[Choice, ...]:
        return tuple(choice for choice, _ in self._expanded(key, reserved=()))

    def _workloads(self) -> Iterator[Workload]:
        for choice, extra in self._expanded("models", reserved=("layers",)):
            data = plugins.instantiate("models", choice).data
            try:
                check_model(choice, data)
            except UserError as error:
                raise self.error(("models",), f"model `{choice.label}`: {error}") from None
            layers = extra.get("layers")
            if layers is None:
                yield Workload(choice, data)
                continue
            if not isinstance(layers, list) or not layers or not all(isinstance(layer, str) for layer in layers):
                raise self.error(("models",), f"`layers` of `{choice.name}` is a list of layer names or patterns, not {layers!r}")
            for layer in _matching_layers(choice, data, layers, self.document.where(("models",))):
                yield Workload(choice, data, layer)

    def _expanded(self, key: str, reserved: tuple[str, ...]) -> Iterator[tuple[Choice, dict[str, Any]]]:
        """Each item is a name, or a name with parameters; a parameter given as a list stands for one choice for each value."""
        items = self.document.value[key]
        if not isinstance(items, list):
            raise self.error((key,), f"`{key}` is a list, not {items!r}")
        for index, item in enumerate(items):
            place: Place = (key, index)
            name, given = self._named(item, place)
            extra = {k: v for k, v in given.items() if k in reserved}
            params = {k: v for k, v in given.items() if k not in reserved}
            try:
                plugins.load(key, name)
                axes = {k: v if isinstance(v, list) and not plugins.takes_list(key, name, k) else [v] for k, v in params.items()}
                for values in itertools.product(*axes.values()):
                    yield plugins.resolve(key, name, dict(zip(axes, values, strict=True))), extra
            except UserError as error:
                raise self.error((*place, name), str(error)) from None
            if not all(axes.values()):
                raise self.error((*place, name), f"a parameter of `{name}` is an empty list; give it a value")

    def _named(self, item: Any, place: Place) -> tuple[str, dict[str, Any]]:
        if isinstance(item, str):
            return item, {}
        if isinstance(item, dict) and len(item) == 1:
            ((name, params),) = item.items()
            if params is None:
                return name, {}
            if isinstance(params, dict):
                return name, params
        raise self.error(place, f"expected a name, or one name with its parameters (`name: {{key: value}}`), not {item!r}")

    def _targets(self) -> tuple[str, ...]:
        names = self.document.value.get("targets", ["local"])
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise self.error(("targets",), f"`targets` is a list of target names, not {names!r}")
        unknown = [name for name in names if name not in self.known_targets]
        if unknown:
            listed = ", ".join(f"`{name}`" for name in unknown)
            raise self.error(
                ("targets", names.index(unknown[0])),
                f"unknown target{'s' * (len(unknown) > 1)} {listed}.{nearest(unknown[0], self.known_targets)} Devices are entries of an "
                "inventory (--inventory FILE): `assay targets add` writes one, `assay board up` those of an emulated board",
            )
        return tuple(names)

    def _points(self, targets: Sequence[Target]) -> tuple[OperatingPoint, ...]:
        """One mapping of axes to values, or a list of them; in each every value goes with every other."""
        given = self.document.value.get("operating_points", {})
        groups = (
            [((), given)]
            if isinstance(given, dict)
            else [((i,), group) for i, group in enumerate(given)]
            if isinstance(given, list)
            else []
        )
        if not groups:
            raise self.error(
                ("operating_points",),
                f"`operating_points` is a mapping with the keys {', '.join(POINT_AXES)}, or a list of such, not {given!r}",
            )
        points: dict[OperatingPoint, None] = {}
        for index, group in groups:
            place = ("operating_points", *index)
            self.keys(group, place, POINT_AXES)
            swept = {"frequency_hz": self._steps(targets, place)} if group.get("frequency_hz") == STEPS else {}
            axes = {axis: self._values(axis, value, (*place, axis)) for axis, value in {**group, **swept}.items()}
            for values in itertools.product(*axes.values()):
                point = OperatingPoint(**dict(zip(axes, values, strict=True)))
                refusals = [point.refusal(target) for target in targets]
                if None not in refusals:
                    raise self.error(place, f"no target of this suite can be run so: {'; '.join(filter(None, refusals))}")
                if point in points:
                    raise self.error(place, "an operating point is named twice")
                points[point] = None
        return tuple(points)

    def _steps(self, targets: Sequence[Target], place: Place) -> list[int]:
        """Every clock that the inventory says a device of the suite can be held at, the slowest first."""
        steps = sorted({hz for target in targets for hz in target.frequencies_hz})
        if not steps:
            names = ", ".join(target.name for target in targets)
            raise self.error(
                (*place, "frequency_hz"), f"the inventory has no `frequencies_hz` of {names}; `assay targets add` finds them"
            )
        return steps

    def _values(self, axis: str, given: Any, place: Place) -> list[Any]:
        """The values that an axis of an operating point is to have, each checked."""
        is_one = not isinstance(given, list) or (axis == "cpus" and not any(isinstance(one, list) for one in given))
        values = [given] if is_one else given
        what, is_good = _POINT_VALUES[axis]
        if not values or not all(is_good(value) or (value is None and axis not in ("threads", "batch")) for value in values):
            raise self.error(place, f"`{axis}` is {what}, or a list of such, not {given!r}")
        values = [tuple(sorted(value)) if isinstance(value, list) else value for value in values]
        if len(set(values)) < len(values):
            raise self.error(place, f"`{axis}` names a value twice: {given!r}")
        return values

    def _baseline(self, labels: Mapping[str, Sequence[str]]) -> tuple[tuple[str, str], ...]:
        given = self.document.value.get("baseline", {"method": labels["method"][0]})
        self.keys(given, ("baseline",), AXES)
        baseline = tuple((axis, as_label(value)) for axis, value in given.items())
        for axis, label in baseline:
            if label not in labels[axis]:
                raise self.error(
                    ("baseline", axis), f"baseline {axis} `{label}` is not in this suite.{nearest(label, labels[axis])}"
                )
        return baseline

    def _conditions(self, key: str, labels: Mapping[str, Sequence[str]]) -> tuple[Condition, ...]:
        items = self.document.value.get(key, [])
        if not isinstance(items, list):
            raise self.error((key,), f"`{key}` is a list of conditions, not {items!r}")
        return tuple(self._condition(item, (key, index), labels) for index, item in enumerate(items))

    def _condition(self, item: Any, place: Place, labels: Mapping[str, Sequence[str]]) -> Condition:
        self.keys(item, place, AXES)
        if not item:
            raise self.error(place, "an empty condition would match every cell; name at least one axis")
        patterns = []
        for axis, given in item.items():
            alternatives = tuple(map(as_label, given if isinstance(given, list) else [given]))
            for alternative in alternatives:
                if not any(matches(alternative, label) for label in labels[axis]):
                    raise self.error(
                        (*place, axis), f"{axis} `{alternative}` matches nothing here.{nearest(alternative, labels[axis])}"
                    )
            patterns.append((axis, alternatives))
        return Condition(tuple(patterns), self.document.where(place))

    def _gates(self, workloads: Sequence[Workload]) -> tuple[Gate, ...]:
        given = self.document.value.get("gates", {})
        networks = {workload.label: workload for workload in workloads if workload.layer is None}
        if not isinstance(given, dict):
            raise self.error(("gates",), f"`gates` is a mapping of models to the least quality of each, not {given!r}")
        found: dict[str, Gate] = {}
        for pattern, least in given.items():
            place = ("gates", pattern)
            matched = [label for label in networks if matches(str(pattern), label)]
            if not matched:
                raise self.error(place, f"model `{pattern}` matches nothing here.{nearest(str(pattern), networks)}")
            if not isinstance(least, (int, float)) or isinstance(least, bool) or not 0 < least <= 1:
                raise self.error(place, f"the least quality of `{pattern}` is a share above 0 and up to 1, not {least!r}")
            for label in matched:
                if label in found:
                    raise self.error(place, f"model `{label}` has a gate already; name it once")
                metric = plugins.instantiate("models", networks[label].model).criterion.metrics[0]
                found[label] = Gate(label, metric, float(least))
        return tuple(found.values())

    def _unique(self, labels: Sequence[str], axis: str) -> None:
        for index, label in enumerate(labels):
            if label in labels[:index]:
                raise self.error((axis if axis in _KEYS else f"{axis}s",), f"{axis} `{label}` is named twice")

    def _name(self) -> str:
        name = self._text("name", self.document.path.stem)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
            raise self.error(("name",), f"a suite's name is letters, digits, `-`, `_` and `.`, not {name!r}")
        return name

    def _text(self, key: str, default: str) -> str:
        value = self.document.value.get(key, default)
        if not isinstance(value, str):
            raise self.error((key,), f"`{key}` is text, not {value!r}")
        return value.strip()

    def _integer(self, key: str, default: int, least: int) -> int:
        value = self.document.value.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
            raise self.error((key,), f"`{key}` is a whole number from {least} to 2**31, not {value!r}")
        return value


def check_model(choice: Choice, data: str) -> None:
    """UserError unless the data set exists, the network takes its examples, and its checkpoint, if it is here, is its own."""
    model = plugins.instantiate("models", choice)
    spec = plugins.named("data", data).spec
    reason = model.accepts(spec)
    if reason is not None:
        raise UserError(f"does not fit data set `{data}`: {reason}")
    if model.weights and not model.weights.startswith(PACKAGED):  # a package's own file is known to fit
        from harness.checkpoint import load_weights
        from harness.own_file import check_file

        try:
            file = weights_file(model.weights)
        except UserError:
            return  # the plan asks for it again, and names all that is missing at once
        if isinstance(model, FileModel):
            check_file(model, file, spec)
        else:
            load_weights(model.build(spec), file, without=model.recipe().ridge_head)


def _matching_layers(choice: Choice, data: str, patterns: Sequence[str], where: str) -> Iterator[str]:
    """Names of the network's modules that match; the only check that has to build the network."""
    spec = plugins.named("data", data).spec
    known = [name for name, _ in plugins.instantiate("models", choice).build(spec).named_modules() if name]
    chosen = []
    for pattern in patterns:
        found = [name for name in known if matches(pattern, name)]
        if not found:
            raise UserError(f"{where}: no layer of `{choice.label}` matches `{pattern}`.{nearest(pattern, known)}")
        chosen += found
    yield from dict.fromkeys(chosen)


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _are_cpus(given: Any) -> bool:
    return (
        isinstance(given, list)
        and bool(given)
        and all(_is_whole(cpu, 0, 4095) for cpu in given)
        and len(set(given)) == len(given)
    )


def _is_governor(given: Any) -> bool:
    return isinstance(given, str) and re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", given) is not None


_POINT_VALUES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "threads": ("a whole number from 1 to 4096", lambda value: _is_whole(value, 1, 4096)),
    "batch": ("a whole number from 1 to 4096", lambda value: _is_whole(value, 1, 4096)),
    "cpus": ("a list of CPU numbers, each once", _are_cpus),
    "governor": ("the name of a governor, such as performance", _is_governor),
    "frequency_hz": (
        "a clock in Hz and in whole kHz (1500000000)",
        lambda value: _is_whole(value, 10**6, 10**11) and value % 1000 == 0,
    ),
}
"""Axis of an operating point -> what its values are, and whether something is one."""
