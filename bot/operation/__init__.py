"""What an operator needs: doctor, health, figures, logs, the upkeep."""
