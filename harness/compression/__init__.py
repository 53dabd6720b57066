"""Compression methods: a file exports `METHOD`, a frozen dataclass with `compress(module, data, context) -> Compressed`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from torch import nn

    from harness.context import Context
    from harness.data import Data

Numeric = Literal["float32", "int8"]
"""The arithmetic a compressed network is meant for; decides which form a backend takes and how answers are compared."""

Tensors = Literal["all", "linear"]
"""What of an integer network is integer: every tensor, as MCUs want it, or only what goes into linear layers, and their weights."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a method says of its network; what is measured stands beside it in every table.

    MACs are multiply-accumulates of one inference at batch 1 over all convolutions and linear layers, stem, depthwise and classifier included.
    Products of two activations (attention) and look-ups in an embedding are not counted: no weight of theirs can be compressed.
    """

    macs: int
    """MACs of the network as its shapes say, zeros multiplied too."""
    nonzero_macs: int
    """MACs whose weight is not zero."""
    params: int
    nonzero_params: int
    weight_bits: float
    """Bits a weight, averaged over all weights."""
    weight_bytes: int
    """Bytes of the weights as the method would store them (index bits counted where the format needs them)."""
    formats: dict[str, int] = field(default_factory=dict)
    """How many layers' weights are counted in which format (`compiler/formats.py`), where they are in one of those."""
    stored_bits: dict[str, int] = field(default_factory=dict)
    """What each weight takes that the method has a form of its own for, by parameter name."""
    scales: dict[str, int] = field(default_factory=dict)
    """Numbers of 32 bits beside each such weight."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """How an integer network is quantized; `export.py` turns it into each form. Activations are per tensor, asymmetric.

    Where only what goes into linear layers is integer, the forms whose kernels ask for it range it themselves as it comes.
    """

    weight_bits: int
    activation_bits: int
    per_channel: bool
    calibration_samples: int
    calibration_sha256: str
    """Of the calibration inputs in the order they were used."""
    tensors: Tensors = "all"


@dataclass(frozen=True)
class Member:
    """One network of a Compressed."""

    module: nn.Module
    """What the backends lower: float32 arithmetic, eval mode, weights already on the method's grid."""
    reference: nn.Module
    """What a backend must answer: the same module, or for an integer network its fake-quantized simulation."""
    claims: Claims
    name: str = "network"
    unrounded: nn.Module | None = None
    """Of a float network that rounds its activations: the same without these roundings. Runtimes sum in other orders, so a value near the
    middle of two steps may go either way, and answers are compared as an integer network's are."""


@dataclass(frozen=True)
class Compressed:
    """One or several members (a single network has one), their numeric class and the training log."""

    members: tuple[Member, ...]
    numeric: Numeric = "float32"
    quantization: Quantization | None = None
    calibration: Any = None
    """[n, ...] float32 inputs that integer forms are calibrated on; None for float networks."""
    log: tuple[dict[str, Any], ...] = ()
    """Training and search log: one JSON object an event."""
    left_alone: dict[str, str] = field(default_factory=dict)
    """Layers the method did not touch, and why."""

    @staticmethod
    def single(
        module: nn.Module,
        claims: Claims,
        *,
        reference: nn.Module | None = None,
        numeric: Numeric = "float32",
        quantization: Quantization | None = None,
        calibration: Any = None,
        log: tuple[dict[str, Any], ...] = (),
        left_alone: dict[str, str] | None = None,
    ) -> Compressed:
        member = Member(module, module if reference is None else reference, claims)
        return Compressed((member,), numeric, quantization, calibration, log, left_alone or {})


class Method(Protocol):
    """The shape of a METHOD: a frozen dataclass whose fields are the parameters a suite may set.

    `files: ClassVar[tuple[str, ...]]` names those that are paths of files, if there are any: their content decides what is cached.
    `begins_at`, a property of a method whose configurations make a family: the parameters of the one whose network, of the same layers, this one
    begins at, or None. That one is then made first, once for all that begin there, and is `context.start`.
    """

    @property
    def numeric(self) -> Numeric:
        """Of the networks it makes; a class variable where no parameter decides it."""

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        """A compressed copy; the argument is never edited."""
