"""What the library knows of transformers models: their blocks, parts, configs and depth. No architecture is named."""
