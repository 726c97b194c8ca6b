"""What is explained: pictures, the class in each, and where that class lies."""

from inrexp.datasets.named import NAMES, load_dataset
from inrexp.datasets.samples import Dataset, Sample, Truth

__all__ = ["NAMES", "Dataset", "Sample", "Truth", "load_dataset"]
