"""Small networks made of arithmetic, not trained: what each answers follows from a rule that its card says.

They stand where weights of your own would stand, in the layouts that exporters write, so that every stage can be tried,
and tested on values, without any. `python -m examples.handmade MODELS` writes them with their cards.
"""

from examples.handmade.folder import MODELS, write_models

__all__ = ["MODELS", "write_models"]
