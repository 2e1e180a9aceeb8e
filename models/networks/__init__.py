"""The networks: ViT, BiT and hybrids, and the layers that they share."""
