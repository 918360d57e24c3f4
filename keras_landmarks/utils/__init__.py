"""What all other parts use: errors, files, progress, parallel work, the process, signals."""
