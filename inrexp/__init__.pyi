from . import baselines as baselines
from . import datasets as datasets
from . import explanation as explanation
from . import figures as figures
from . import methods as methods
from . import metrics as metrics
from . import models as models
from . import paper as paper
from . import study as study
from . import widgets as widgets
from .baselines.saliency import SaliencyMap as SaliencyMap
from .datasets.pictures import load_picture as load_picture
from .explanation import PAPER_AREAS as PAPER_AREAS
from .explanation import Explanation as Explanation
from .methods import METHODS as METHODS
from .methods import explain as explain
from .methods import explain_many as explain_many
from .methods import extremal_perturbation as extremal_perturbation
from .methods import grad_cam as grad_cam
from .methods import rise as rise
from .models.classifier import Classifier as Classifier
from .models.registry import load_classifier as load_classifier
from .paper.algorithm1 import Explanations as Explanations
from .paper.presets import PRESETS as PRESETS
from .paper.settings import FitConfig as FitConfig

__version__: str
