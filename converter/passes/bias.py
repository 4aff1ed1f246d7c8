"""Takes the mean error that quantisation causes out of the biases, layer after layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converter.graph import WEIGHTED, pack, view
from converter.probe import Images, Probe
from lab.progress import progress

CORRECTED_ON = (16, 256)  # pictures, least and most
CORRECTED_RUNS = 4096  # over all layers: deep networks get fewer pictures
LEAST_ACTIVE = 0.1  # of a ReLU that passes less, the mean says too little about its bias


def correct_biases(model: Any, truth: Probe, pictures: Images) -> None:
    """Take each channel's mean error against the float file that `truth` runs out of its bias, layer after layer.

    `model` is the int8 ModelT, which is changed; `pictures` are uint8 (n, side, side) or (n, side, side, 3).

    Empirical bias correction (Nagel et al., arXiv 1906.04721, section 4.2), measured behind the fused ReLU: there only
    the share of values that it passes moves with the bias.
    """
    main = model.subgraphs[0]
    names = {truth.graph.tensors[t].name: t for operator in truth.graph.operators for t in operator.outputs}
    graph = view(model)
    content = bytearray(pack(model))
    buffers = schema.Model.GetRootAsModel(content, 0)  # in place: a bias of other values is as long
    steps = [
        (step, operator)
        for step, operator in zip(main.operators, graph.operators, strict=True)
        if operator.name in WEIGHTED and len(operator.inputs) > 2 and operator.inputs[2] >= 0
        if graph.tensors[operator.inputs[2]].dtype == "int32" and graph.tensors[operator.outputs[0]].name in names
    ]
    fewest, most = CORRECTED_ON
    pictures = pictures[: min(max(CORRECTED_RUNS // max(len(steps), 1), fewest), most)]
    wanted = [names[graph.tensors[operator.outputs[0]].name] for _, operator in steps]
    expected = {tensor: [np.float64(0), np.float64(0), np.inf] for tensor in wanted}  # mean, share above 0, least
    for picture in pictures:
        truth.run(picture)
        for tensor, sums in expected.items():
            values = truth.real(tensor)
            values = values.reshape(-1, values.shape[-1])
            sums[0] = sums[0] + values.mean(axis=0, dtype=np.float64) / len(pictures)
            sums[1] = sums[1] + (values > 0).mean(axis=0) / len(pictures)
            sums[2] = min(sums[2], values.min())
    for tensor, (_, operator) in zip(progress(wanted, "correct biases"), steps, strict=True):
        mean, active, least = expected[tensor]
        probe = Probe(bytes(content), graph=graph)
        measured = np.float64(0)
        for picture in pictures:
            probe.run(picture)
            values = probe.real(operator.outputs[0])
            measured = measured + values.reshape(-1, values.shape[-1]).mean(axis=0, dtype=np.float64) / len(pictures)
        error = measured - mean
        if least >= 0:  # behind a ReLU
            error = error / np.maximum(active, LEAST_ACTIVE)
        bias = graph.tensors[operator.inputs[2]]
        number = main.tensors[operator.inputs[2]].buffer
        buffer = model.buffers[number]
        stored = np.frombuffer(buffer.data.tobytes(), np.int32)
        corrected = stored - np.round(error / bias.scale)
        limits = np.iinfo(np.int32)
        buffer.data = np.clip(corrected, limits.min, limits.max).astype(np.int32).view(np.uint8)
        buffers.Buffers(number).DataAsNumpy()[:] = buffer.data
