"""From photos and videos to landmarks with a trained model."""
