"""Images with attributes: `AttributeImages`, augmentation, readers of the papers' data sets."""

from a2i_lib.data.augment import Augment
from a2i_lib.data.dataset import AttributeImages, Batch, DataError

__all__ = ["AttributeImages", "Augment", "Batch", "DataError"]
