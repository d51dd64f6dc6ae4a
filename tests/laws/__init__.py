"""The laws of structured concurrency and of the data's path, shown on whole hubs; and every bad input there is."""
