"""Models, worlds and training loops of the Attribute2Image book."""

__version__ = "0.1.0"
