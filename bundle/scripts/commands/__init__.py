"""What `python -m scripts.commands.NAME` starts."""
