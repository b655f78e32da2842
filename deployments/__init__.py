"""One request, from HTTP to scores. Start reading at ``app.py``, then ``ingress.py``."""
