"""The attribute predictor that judges samples (Attribute2Image, appendix C: "attribute regressor").

Trained from scratch on photographs or drawings, never on samples; it resembles the recognition
model, with batch normalisation for a quick and well-calibrated fit.
"""

from __future__ import annotations

from torch import Tensor, nn

from a2i_lib.models.layers import scaled


class AttributeClassifier(nn.Module):
    """(B, 3, size, size) in [0, 1] -> (B, K): logits of y = +1, or values of scores.

    Args:
        attributes: K, the number of attributes.
        width: multiplies 64, 128, 256, 256 channels.
        size: height and width of images, a multiple of 16.
        dropout: before the last layer.
    """

    def __init__(
        self, attributes: int, width: float = 0.5, size: int = 64, dropout: float = 0.2
    ) -> None:
        super().__init__()
        if size < 16 or size % 16:
            raise ValueError(f"size must be a positive multiple of 16, not {size}")
        self.attributes, self.size = attributes, size
        channels = [3] + [scaled(c, width) for c in (64, 128, 256, 256)]
        blocks: list[nn.Module] = []
        for c_in, c_out in zip(channels[:-1], channels[1:], strict=True):
            blocks += [nn.Conv2d(c_in, c_out, 5 if c_in == 3 else 3, 2, 2 if c_in == 3 else 1)]
            blocks += [nn.BatchNorm2d(c_out), nn.ReLU()]
        hidden = scaled(512, width)
        self.net = nn.Sequential(
            *blocks,
            nn.Flatten(),
            nn.Linear(channels[-1] * (size // 16) ** 2, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, attributes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x - 0.5)
