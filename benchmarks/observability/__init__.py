"""Every series and every endpoint of a running stack."""
