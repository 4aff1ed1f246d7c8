"""The last dense layer alone, fitted again to other targets: the features of a long fit, the truth of another rating.

A convex problem, solved to its end in seconds; fits that go on from there lose nothing on the way to the new targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lab.networks.keras_file import as_batch

if TYPE_CHECKING:
    import keras

PENALTY = 1e-4  # on the squares of the weights of features scaled to unit variance
ITERATIONS = 300
BATCH = 256

Floats = npt.NDArray[np.float64]


def last_dense(model: keras.Model) -> Any:
    """Return the dense layer whose logits the layer "probabilities" takes."""
    return next(layer for layer in model.layers if layer.output is model.get_layer("probabilities").input)


def refit_head(model: keras.Model, images: npt.NDArray[np.uint8], shares: npt.NDArray[np.float32]) -> float:
    """Give the last dense layer the weights of least cross-entropy to `shares`; returns that entropy.

    `images` uint8 (n, h, w) or (n, h, w, 3), `shares` float32 (n, classes), rows that sum to 1. Multinomial logistic
    regression on the features (L-BFGS: Liu and Nocedal, Mathematical Programming 45, 1989).
    """
    import keras
    from scipy.optimize import minimize

    features = keras.Model(model.input, model.get_layer("features").output)
    batches = (as_batch(images[begun : begun + BATCH]) for begun in range(0, len(images), BATCH))
    values = np.concatenate([np.asarray(features.predict_on_batch(batch), np.float64) for batch in batches])
    mean, deviation = values.mean(axis=0), values.std(axis=0) + 1e-6
    scaled = np.hstack([(values - mean) / deviation, np.ones((len(values), 1))])
    classes = shares.shape[1]

    def entropy(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(-1, classes)
        logits = scaled @ weights
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        sums = powers.sum(axis=1, keepdims=True)
        loss = float((shares * (np.log(sums) - logits)).sum() / len(scaled))
        slope = scaled.T @ (powers / sums - shares) / len(scaled)
        slope[:-1] += 2 * PENALTY * weights[:-1]
        return loss + PENALTY * float((weights[:-1] ** 2).sum()), slope.ravel()

    found = minimize(
        entropy, np.zeros(scaled.shape[1] * classes), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}
    )
    weights = found.x.reshape(-1, classes)
    kernel = weights[:-1] / deviation[:, None]
    last_dense(model).set_weights([kernel, weights[-1] - mean @ kernel])
    return float(found.fun)
