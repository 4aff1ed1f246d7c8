"""Batch normalisation in one kernel, for fitting: Keras composes it of elementwise operators, half of a step's time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from keras import KerasTensor


class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Keras' layer over (n, h, w, channels), with the kernel of TensorFlow or torch; elsewhere Keras' own.

    The running variance counts n / (n - 1) as both kernels do.
    """

    def call(self, inputs: KerasTensor, training: bool | None = None, mask: None = None) -> KerasTensor:
        """Normalise `inputs`, any floating dtype; statistics and weights stay float32."""
        backend = keras.backend.backend()
        if len(inputs.shape) != 4 or backend not in ("tensorflow", "torch"):
            return super().call(inputs, training=training, mask=mask)
        # InceptionV3 has no scale: a constant one is not a weight.
        scale = self.gamma.value if self.scale else keras.ops.ones_like(self.moving_mean.value)
        offset = self.beta.value if self.center else keras.ops.zeros_like(self.moving_mean.value)
        mean, variance = self.moving_mean, self.moving_variance
        if backend == "torch":
            import torch

            normalised = torch.nn.functional.batch_norm(
                inputs.permute(0, 3, 1, 2),
                mean.value,
                variance.value,
                scale,
                offset,
                bool(training),
                1 - self.momentum,
                self.epsilon,
            )
            return normalised.permute(0, 2, 3, 1)
        from tensorflow.compat.v1.nn import fused_batch_norm

        if not training:
            given = {"mean": mean.value, "variance": variance.value, "is_training": False}
            return fused_batch_norm(inputs, scale, offset, epsilon=self.epsilon, **given)[0]
        normalised, of_mean, of_variance = fused_batch_norm(inputs, scale, offset, epsilon=self.epsilon)
        mean.assign(mean * self.momentum + of_mean * (1 - self.momentum))
        variance.assign(variance * self.momentum + of_variance * (1 - self.momentum))
        return normalised


def fuse(model: keras.Model) -> keras.Model:
    """Clone `model` with its batch normalisations fused; the weights, copied, are in the same order."""

    def clone(layer: Any) -> Any:
        fused = type(layer) is keras.layers.BatchNormalization
        return (FusedBatchNormalization if fused else type(layer)).from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy
