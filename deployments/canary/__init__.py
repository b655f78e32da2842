"""What an ingress learns about candidate versions from the requests it answers."""
