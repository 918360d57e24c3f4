"""Images in memory: decoding, crops and their inverse, video, face detection, drawing."""
