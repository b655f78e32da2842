"""Files of any size on Ray Data: cut into parts, scored by a pool of engines, put together.

    places (URIs) → parts (cut, read) → scorer (the actors) → output (write, merge)

``plan.py`` is what makes a crashed run go on; ``pipelines/scoring/score.py`` is the verb.
"""
