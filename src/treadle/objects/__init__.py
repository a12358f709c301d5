"""s3:// URIs become bytes."""
