"""One module for each library that is trained with: a sample to its rows. See docs/reference/exports.md."""
