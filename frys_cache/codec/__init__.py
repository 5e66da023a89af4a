"""What keys and values become below memory: bytes that mean the same in every process."""
