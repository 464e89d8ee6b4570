"""Runs that this peer drives."""
