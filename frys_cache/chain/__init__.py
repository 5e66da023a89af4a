"""What a `CacheManager` is made of: levels, how they are read, loaded, written and decided on."""
