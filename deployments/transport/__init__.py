"""How replicas reach each other: Ray's handles, and sockets for texts and scores beside them."""
