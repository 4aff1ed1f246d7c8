"""Takes the mean error that quantisation causes out of the biases, layer after layer."""

from __future__ import annotations

import numpy as np

from converter.graph import WEIGHTED, pack, read_graph, unpack
from converter.probe import Images, Probe, progress

CORRECTED_ON = (16, 256)  # pictures, least and most
CORRECTED_RUNS = 4096  # over all layers: deep networks get fewer pictures
LEAST_ACTIVE = 0.1  # a ReLU that passes less tells too little of its bias


def correct_biases(content: bytes, reference: bytes, pictures: Images) -> bytes:
    """Take each channel's mean error against the float file `reference` out of its bias, layer after layer.

    Empirical bias correction (Nagel et al., arXiv 1906.04721, section 4.2), measured behind the fused ReLU: there only
    the share of values that it passes moves with the bias.
    """
    model = unpack(content)
    main = model.subgraphs[0]
    truth = Probe(reference)
    names = {truth.graph.tensors[t].name: t for operator in truth.graph.operators for t in operator.outputs}
    graph = read_graph(content)
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
        probe = Probe(pack(model))
        said = np.float64(0)
        for picture in pictures:
            probe.run(picture)
            values = probe.real(operator.outputs[0])
            said = said + values.reshape(-1, values.shape[-1]).mean(axis=0, dtype=np.float64) / len(pictures)
        error = said - mean
        if least >= 0:  # behind a ReLU
            error = error / np.maximum(active, LEAST_ACTIVE)
        bias = graph.tensors[operator.inputs[2]]
        buffer = model.buffers[main.tensors[operator.inputs[2]].buffer]
        stored = np.frombuffer(buffer.data.tobytes(), np.int32)
        corrected = stored - np.round(error / bias.scale)
        limits = np.iinfo(np.int32)
        buffer.data = np.clip(corrected, limits.min, limits.max).astype(np.int32).view(np.uint8)
    return pack(model)
