"""What happens to recordings, said by `sort-assets up` while it happens."""
