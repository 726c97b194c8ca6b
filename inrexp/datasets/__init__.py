"""What is explained: pictures, the class in each, and where that class lies."""

import lazy_loader

# As in the package's own __init__: what stands in __init__.pyi is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
