"""inrexp: the runnable companion to "Generating visual explanations from deep networks using implicit neural
representations" (Byra and Skibbe).

>>> import inrexp
>>> classifier = inrexp.load_classifier()                  # EfficientNet-Lite0, its weights come with the package
>>> explanation = inrexp.explain(classifier, inrexp.load_picture("chelsea"))
>>> explanation.mask(0.1).shape
torch.Size([1, 1, 224, 224])
"""

from importlib.metadata import version

import lazy_loader

# What the package offers stands in __init__.pyi. A name is imported when it is first used, so that commands which need
# no torch answer at once.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("inrexp")
