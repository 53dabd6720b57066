"""int8 as quantize/dequantize pairs in a torch.export program (PT2E), placed where XNNPACK's integer kernels want them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from harness.forms import program
from harness.forms.conversion import conversion, versions
from harness.forms.form import Floats, Source, Written, activation_ranges, batches


def write(source: Source, folder: Path) -> Written:
    """Weights and activations in int8, ranges = minimum and maximum over all calibration inputs.

    Where only linear layers are integer, what goes into them is rounded by its own range as it comes.
    """
    import torch

    quantization, calibration = source.integers()
    with conversion("PT2E quantization"):
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        config = get_symmetric_quantization_config(
            is_per_channel=quantization.per_channel, is_dynamic=quantization.tensors == "linear"
        )
        plan = XNNPACKQuantizer().set_global(config)
        network = prepare_pt2e(torch.export.export(source.module, (source.sample(),)).module(), plan)
        with torch.no_grad():
            for chunk in batches(calibration, source.batch):
                network(torch.from_numpy(chunk))
        network = convert_pt2e(network)
    written = program.write_program(network, source, folder, versions("torch", "torchao", "executorch"))
    return dataclasses.replace(written, facts={**written.facts, "activation_ranges": activation_ranges(quantization)})


def answer(path: Path, chunks: Iterable[Floats]) -> list[Floats]:
    """Batches through torch, the pairs computed in float32."""
    with conversion("PT2E check"):
        # The pairs' operators are known to torch once this is imported.
        import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401

    return program.answer(path, chunks)
