"""What people say of answers: events, the labels derived of them, the queue, the accuracy.

``desk.py`` does the work; ``labels.py`` and ``accuracy.py`` are pure, ``store.py`` remembers.
"""
