"""Capacity: what starts nodes, and what decides how many."""
