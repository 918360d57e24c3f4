"""The input pipeline of a training: samples, split, cache, augmentation, batches."""
