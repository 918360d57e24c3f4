"""Finds the faces in your own photos and videos and predicts the points of each.

    python -m keras_landmarks.landmarks photo.jpg
    python -m keras_landmarks.landmarks folder/ clip.mp4 --workdir=work --out=found

The model is @faces, which is part of the package and gives the contest's 971 points, or that of a
training of your own (--workdir). Nothing is downloaded.

Writes under --out

    landmarks.csv      one row per face, tab-separated: file_name, face, box_x0, box_y0, box_x1,
                       box_y1, and x and y of each point, headed by its name if the model knows the
                       points' names (--nonames: as in the contest's table)
    landmarks.json     the same by photo, with the scores of the boxes and, if the model was trained
                       with --loss=nll, the standard deviations of the points
    pictures/          the photos with their points drawn; landmarks.json names the picture of each
                       photo (--nodraw writes none)
    videos/            for each video a table with an additional column `frame`, the same as JSON
                       with the times of the frames, and the video with its points drawn (MPEG-4 at
                       a constant rate, without sound; some browsers do not play it)
    skipped.csv        file_name and reason of photos and videos without a face and of everything
                       that could not be used, entirely or in part: broken files, links to folders,
                       videos that end early

and with --format, of photos

    coco               annotations.json: COCO keypoints, for CVAT and others
    labelme            labelme/: a file for each photo, for `labelme photos --output found/labelme`
    label_studio       label_studio.json: tasks with predictions to import into a project whose
                       labelling interface is label_studio.xml
    each of them       least_certain.csv: file_name, face and uncertainty

The folder must be new, empty, or an earlier run's, which is replaced when the run is complete. One
that holds annotations is never replaced, because somebody may have corrected them there.

Photos are JPEG, PNG, WebP, AVIF, TIFF or BMP, whatever their names, and HEIC with an extra
(pip install -e '.[heic]'), in colour or grey, of 8 or 16 bits; transparency is ignored. Videos end
in .3g2 .3gp .asf .avi .flv .m2ts .m2v .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .vob .webm
.wmv. Folders are read with their subfolders, except hidden files and links to folders. file_name is
the path relative to the folder that all inputs share. An output has the name of its input, with a
number added if that name is taken (IMG_1 and IMG_1.jpg, A.jpg and a.jpg).

Everything is in pixels of the photo, turned as its EXIF orientation says; (0, 0) is the centre of
the upper left pixel. Faces are numbered from 0, the largest first. In a video a face keeps its
number, even if the camera moves quickly or another face hides it for less than a second.

LABELLING. --format writes the faces for a labelling program, so that people correct points rather
than place them, and `convert` reads what they export. The photos are written in the order of their
least certain face; those without a face come last. CVAT and labelme show photos by name instead, so
take the order from least_certain.csv there. A face's uncertainty is the root mean square of its
points' standard deviations as a share of the side of its box; if the model was not trained with
--loss=nll, 1 minus the detector's score. Label Studio takes no points beyond the photo, so they are
left out there. It finds the photos if it serves local files
(LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true), its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT is the
folder that holds the folder of photos, and the latter is added to the project as a storage.

FINDING FACES. The detector comes with the package. --min_score is its minimum score;
--smallest_face is the width of the smallest face, as a fraction of the photo's longer side. On 20
photos with 54 faces, the smallest 28 px wide, it found all faces and nothing else, also with the
photos rotated by 90 degrees to either side (with the same points to 1e-4 px). Faces that are upside
down are not found. It takes 0.1 s of one core, 0.3 s for a photo of 12 megapixels, and three times
as long if faces lie on their side. --smallest_face=0.06 makes videos two to three times as fast.

CROPPING. Faces are cropped like the contest's photos and predicted, then cropped again around the
predicted points and predicted once more (--notwo_pass: only once). A model with other points, or
for photos that were cropped in another way, needs --data, the folder that it was trained on, whose
photos show how to crop.

STEADY POINTS. `jitter` in the results measures how much the points of a video shake, as a fraction
of the face's size. It is a median, so that quick movements do not count. --smooth applies a
one-euro filter (Casiez et al. 2012) to the boxes, the face as a whole and the points within it; a
lower --min_cutoff is steadier, a higher --beta lags less. With it a face that moves gently shakes
0.4 times as much. A face that moves by 8 % of its size per frame shakes 0.7 times as much, and its
error rises from 0.3 % to 0.5 % of its size.
"""

from pathlib import Path

from keras_landmarks import flags
from keras_landmarks.inference.landmark_files import predict_files
from keras_landmarks.models.packaged import FACES
from keras_landmarks.settings import LandmarksSettings
from keras_landmarks.utils.errors import InputError

landmarks = predict_files  # for Python: `from keras_landmarks.landmarks import landmarks`

FLAGS = flags.use("workdir", "out", LandmarksSettings)


def main(paths: list[str]) -> dict:
    """Reads the flags, predicts the files, returns the results."""
    _validate_flags(paths)
    return predict_files(
        paths,
        workdir=FLAGS.workdir,
        out=Path(FLAGS.out or "found"),
        settings=flags.read(LandmarksSettings),
    )


def _validate_flags(paths: list[str]) -> None:
    if not paths:
        raise InputError("name photos, folders or videos: landmarks photo.jpg folder/")
    for name in ("min_cutoff", "beta"):
        if FLAGS[name].present and not FLAGS.smooth:
            raise InputError(f"--{name} needs --smooth")


if __name__ == "__main__":
    flags.run(main, LandmarksSettings, takes_paths=True, workdir=FACES)
