"""inrexp: the runnable companion to "Generating visual explanations from deep networks using implicit neural
representations" (Byra and Skibbe).

>>> import inrexp
>>> classifier = inrexp.load_classifier()                  # EfficientNet-Lite0, its weights come with the package
>>> explanation = inrexp.explain(classifier, inrexp.load_picture("chelsea"))
>>> explanation.mask(0.1).shape
torch.Size([1, 1, 224, 224])
"""

from importlib.metadata import version

from inrexp.baselines.saliency import SaliencyMap
from inrexp.datasets.pictures import load_picture
from inrexp.explanation import PAPER_AREAS, Explanation
from inrexp.methods import METHODS, explain, explain_many, extremal_perturbation, grad_cam, rise
from inrexp.models.classifier import Classifier
from inrexp.models.registry import load_classifier
from inrexp.paper.algorithm1 import Explanations
from inrexp.paper.presets import PRESETS
from inrexp.paper.settings import FitConfig

__version__ = version("inrexp")
__all__ = [
    "METHODS",
    "PAPER_AREAS",
    "PRESETS",
    "Classifier",
    "Explanation",
    "Explanations",
    "FitConfig",
    "SaliencyMap",
    "explain",
    "explain_many",
    "extremal_perturbation",
    "grad_cam",
    "load_classifier",
    "load_picture",
    "rise",
]
