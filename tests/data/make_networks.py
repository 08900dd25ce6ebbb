"""Makes the little LiteRT networks of ``tests/data/networks``; needs the training extra.

Run it as ``python tests/data/make_networks.py`` after a change here. They are kept in the repository so that the
tests of what runs networks need nothing that makes them.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

HERE = Path(__file__).parent / "networks"


def brightness(*, height_px: int = 180, dtype: str = "uint8") -> keras.Model:
    """Three labels for the dark, the middle and the bright third of the range of a picture's mean."""
    pictures = keras.Input((height_px, 320, 3), dtype=dtype)
    mean = keras.ops.mean(keras.layers.Rescaling(1 / 255)(pictures), axis=(1, 2, 3), keepdims=False)
    rows = keras.layers.Reshape((1,))(mean)
    dense = keras.layers.Dense(3)
    logits = dense(rows)
    # Straight lines that cross at one third and at two thirds of the range.
    dense.set_weights(
        [np.array([[-30.0, 0.0, 30.0]], dtype=np.float32), np.array([10.0, 0.0, -20.0], dtype=np.float32)]
    )
    return keras.Model(pictures, logits)


def main() -> None:
    """Write all of them."""
    HERE.mkdir(exist_ok=True)
    brightness().export(HERE / "brightness.tflite", format="litert", verbose=False)
    brightness(height_px=240).export(HERE / "other_size.tflite", format="litert", verbose=False)
    brightness(dtype="float32").export(HERE / "float_input.tflite", format="litert", verbose=False)


if __name__ == "__main__":
    main()
