"""A pipeline run, sans-IO: what a fragment and a driver do with each event, and what they want done."""
