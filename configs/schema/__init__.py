"""The settings: one file for each section, frozen and bounded."""
