"""What a folder holds: its layout, recognised and written as a manifest and an experiment that runs."""
