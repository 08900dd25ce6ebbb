"""HTTP: health, figures, pictures to classify, channels to ask about."""
