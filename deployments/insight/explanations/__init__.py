"""Which words made an answer: the model is asked the text without them.

``explainer.py`` asks the model; ``words.py``, ``methods.py`` and ``page.py`` are pure.
"""
