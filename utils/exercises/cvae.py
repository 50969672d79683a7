"""Exercises of 03_cvae."""
