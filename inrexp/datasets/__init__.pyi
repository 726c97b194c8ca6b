from .named import NAMES as NAMES
from .named import load_dataset as load_dataset
from .samples import Dataset as Dataset
from .samples import Sample as Sample
from .samples import Truth as Truth
