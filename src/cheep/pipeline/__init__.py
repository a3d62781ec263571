# SPDX-License-Identifier: MIT
"""Configured pipelines: one YAML file -> checked settings -> cached steps -> results and a report."""
