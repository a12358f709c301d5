"""s3:// URIs become bytes: `filesystem` keeps objects as plain files, `memory` in memory; `uri` reads the URIs."""
