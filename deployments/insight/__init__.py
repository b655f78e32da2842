"""What changes in the traffic: histograms of all replicas, compared with a reference.

``deployment.py`` is the deployment, ``replica.py`` the replica without Ray. The counts come from
``deployments/inference/traffic_counter.py``; ``drift.py`` decides, ``store.py`` remembers.
"""
