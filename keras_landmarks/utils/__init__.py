"""What every part stands on: files, errors, progress, parallel work, the runtime."""
