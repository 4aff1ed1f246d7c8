"""Layers that fit faster than Keras' own: batch normalisation in one kernel, and with torch no copies around a kernel.

Keras composes the first of elementwise operators, half of a step's time; with torch it copies what a convolution or a
pooling takes into the order of channels first and back, another third.
"""

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
                inputs.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last),
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


class StraightConv2D(keras.layers.Conv2D):  # type: ignore[misc]
    """Keras' layer; torch's kernel is given the channels where they are."""

    def convolution_op(self, inputs: KerasTensor, kernel: KerasTensor) -> KerasTensor:
        """Convolve (n, h, w, in) with (h, w, in, out), both of one floating dtype."""
        if keras.backend.backend() != "torch":
            return super().convolution_op(inputs, kernel)
        import torch

        pixels = inputs.permute(0, 3, 1, 2)
        around = [0, 0]
        if self.padding == "same":
            pairs = [_around(*sizes) for sizes in zip(pixels.shape[2:], self.kernel_size, self.strides, strict=True)]
            around = [before for before, _ in pairs]
            if any(before != after for before, after in pairs):
                (top, bottom), (left, right) = pairs
                pixels, around = torch.nn.functional.pad(pixels, (left, right, top, bottom)), [0, 0]
        filters = keras.ops.convert_to_tensor(kernel).permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
        convolved = torch.nn.functional.conv2d(
            pixels, filters, None, self.strides, around, self.dilation_rate, self.groups
        )
        return convolved.permute(0, 2, 3, 1)


class StraightMaxPooling2D(keras.layers.MaxPooling2D):  # type: ignore[misc]
    """Keras' layer without padding; torch's kernel is given the channels where they are."""

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Pool (n, h, w, channels)."""
        if keras.backend.backend() != "torch" or self.padding != "valid":
            return super().call(inputs)
        import torch

        pooled = torch.nn.functional.max_pool2d(inputs.permute(0, 3, 1, 2), self.pool_size, self.strides)
        return pooled.permute(0, 2, 3, 1)


def _around(side: int, size: int, stride: int) -> tuple[int, int]:
    """Return how many pixels "same" puts before and after a side, as Keras and TensorFlow do."""
    missing = max(0, (-(-side // stride) - 1) * stride + size - side)
    return missing // 2, missing - missing // 2


_FASTER: dict[Any, Any] = {
    keras.layers.BatchNormalization: FusedBatchNormalization,
    keras.layers.Conv2D: StraightConv2D,
    keras.layers.MaxPooling2D: StraightMaxPooling2D,
}


def fuse(model: keras.Model) -> keras.Model:
    """Clone `model` with these layers in the place of Keras' own; the weights, copied, are in the same order."""

    def clone(layer: Any) -> Any:
        return _FASTER.get(type(layer), type(layer)).from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy
