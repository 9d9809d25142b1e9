"""Runs and steps as jobs of Kubernetes, by dagster-k8s."""
