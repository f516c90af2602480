"""Federated learning of medical images across modalities and tasks."""
