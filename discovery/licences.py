"""The user's table of licences: whether what a model wrote may be trained on."""
