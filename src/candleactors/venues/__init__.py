"""One codec per exchange, sans-IO."""
