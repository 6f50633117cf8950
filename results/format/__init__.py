"""The results format: records, reader, layout of ids and folders, limits, atomic writing. It does not need torch."""
