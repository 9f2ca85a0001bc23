"""Layers on blocks."""
