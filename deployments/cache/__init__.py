"""Remembered predictions: L1 in each ingress, L2 shared through the Cache deployment."""
