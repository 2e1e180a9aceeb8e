"""Models that other libraries build: timm, torchvision, the Hugging Face hub."""
