"""What follows by itself: stale results, retries, failure messages, the digest, the summary, manual curation."""
