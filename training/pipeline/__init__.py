"""From a data set to what a network is shown: decoded, augmented, in batches."""
